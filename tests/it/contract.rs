//! The released contract. What was compiled against it loads and works for ever: `tests/contract` keeps plugins as
//! they were compiled at each release, in forms that any host of that line has to take.

use std::io::Read as _;

use wasmill_test_partner::{Operation, Partner};

use crate::languages::passes;
use crate::sagas;
use crate::support::root;

/// A component as it was kept.
pub fn kept(name: &str) -> Vec<u8> {
    let path = root().join("tests/contract").join(format!("{name}.wasm.gz"));
    let file = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut component = Vec::new();
    flate2::read::GzDecoder::new(file).read_to_end(&mut component).expect("it is gzip");
    component
}

/// Its lines without comments and blank ones.
fn lines(path: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(path)).expect("it is there");
    let code = text.lines().map(|line| line.split("//").next().unwrap_or_default().trim().to_owned());
    code.filter(|line| !line.is_empty()).collect()
}

#[test]
fn nothing_that_was_released_is_taken_away_or_changed() {
    let (frozen, now) = (lines("tests/contract/0.1.0/plugin.wit"), lines("wit/plugin.wit"));
    let mut rest = now.iter();
    for line in &frozen {
        assert!(
            rest.any(|now| now == line),
            "`{line}` was released in wasmill:plugin@0.1.0 and is not in wit/plugin.wit any more, or not in its place: \
             what is new goes beside it, or into a package 0.2.0"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_in_rust_of_0_1_0_pass_the_suite() {
    passes("0.1.0/rust").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_in_c_of_0_1_0_pass_the_suite() {
    passes("0.1.0/c").await;
}

/// They have the worlds for interpreted languages.
#[tokio::test(flavor = "multi_thread")]
async fn plugins_in_javascript_of_0_1_0_pass_the_suite() {
    passes("0.1.0/js").await;
}

#[tokio::test]
async fn a_saga_of_0_1_0_is_driven() {
    let partner = Partner::start(None).await.expect("the partner starts");
    let host = sagas::host().await;
    sagas::deploy_component(&host, &partner, kept("0.1.0/rust/order-fulfillment")).await;
    for (id, fails, state) in [("o-1", false, "completed"), ("o-2", true, "compensated")] {
        let saga = sagas::start(&host, id, fails).await;
        assert_eq!(sagas::end(&host, &saga).await["state"], state);
    }
    assert_eq!(partner.ledger().standing("o-1").shipped.done, 1);
    assert_eq!((partner.asked(Operation::Release), partner.ledger().balance().items), (1, 0));
}

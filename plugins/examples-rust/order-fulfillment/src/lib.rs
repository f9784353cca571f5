//! An order is fulfilled: its items are set aside, its amount is held, and it is shipped. When one of these fails for
//! good, what was done before it is undone, the last first.
//!
//! Each step asks a partner over HTTP, `tests/partner` for one. The host sends the idempotency key of the step along, so
//! a step that is attempted again, because nobody knows what became of the attempt before, is still done once.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wasmill_guest::{Descriptor, Failure, Outcome, Retry, Saga, Setting, Step, StepContext, config, http, log};

/// What the saga is started with.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    pub order_id: String,
    pub items: Vec<Item>,
    /// In the smallest unit of the currency.
    pub amount: u64,
    /// The partner declines the card, to show what is undone then.
    #[serde(default)]
    pub simulate_payment_failure: bool,
}

#[derive(Debug, Deserialize, Serialize)]
pub struct Item {
    pub sku: String,
    pub quantity: u32,
}

/// What the partner answers, and what a step keeps of it.
#[derive(Debug, Deserialize, Serialize)]
pub struct Done {
    pub reference: String,
}

pub struct OrderFulfillment;

impl Saga for OrderFulfillment {
    fn descriptor() -> Descriptor {
        Descriptor::new("order-fulfillment", env!("CARGO_PKG_VERSION"))
            .describe("Sets an order's items aside, holds its amount, and ships it")
            .setting(Setting::new("partner").describe("The URL of the shop").required())
            .sends("POST", "{partner}/*")
            .saga_timeout(Duration::from_secs(24 * 3_600))
    }

    fn steps() -> Vec<Step> {
        let patient = Retry::attempts(5).base(Duration::from_millis(50)).longest(Duration::from_secs(5));
        let step = |step: Step| step.retry(patient).attempt_timeout(Duration::from_secs(5));
        vec![
            step(Step::new("reserve-inventory", |context| ask("reserve", context)))
                .undone_by(|context| ask("release", context)),
            step(Step::new("authorize-payment", authorize)).undone_by(|context| ask("void", context)),
            step(Step::new("ship", |context| ask("ship", context))).undone_by(|context| ask("recall", context)),
        ]
    }
}

/// A card that was declined will be declined again: the order is not fulfilled.
fn authorize(context: &mut StepContext) -> Result<Outcome, Failure> {
    ask("authorize", context).map_err(|failure| match failure.code.as_str() {
        "http.402" => Failure::reject("payment.declined", "the card was declined"),
        _ => failure,
    })
}

fn ask(what: &str, context: &mut StepContext) -> Result<Outcome, Failure> {
    let order: Order = context.input()?;
    let partner = config::get("partner").unwrap_or_default();
    let url = format!("{}/{what}", partner.trim_end_matches('/'));
    let done: Done = http::post_json(url, &order)?.success()?.json()?;
    log::info(&format!("{what}: {}", done.reference));
    Outcome::completed(&done)
}

wasmill_guest::export_saga!(OrderFulfillment);

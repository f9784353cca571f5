//! `partner [ADDRESS [LEDGER]]`: runs until it is killed. The address is 127.0.0.1:7500 unless another is given; its
//! ledger is lost with it unless it has a file.

use std::io;
use std::path::PathBuf;

use tokio::net::TcpListener;
use wasmill_test_partner::Partner;

#[tokio::main]
async fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:7500".into());
    let ledger = arguments.next().map(PathBuf::from);
    let partner = Partner::on(TcpListener::bind(address).await?, ledger.as_deref())?;
    #[expect(clippy::print_stdout, reason = "whoever has started it waits for this line")]
    {
        println!("{}", partner.url());
    }
    tokio::signal::ctrl_c().await
}

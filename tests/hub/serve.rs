//! The server alone, for other programs.

use super::server::TestHub;

/// `MOA_HUB_PORT=8000 cargo test --release --test hub -- --ignored serve` runs until its
/// standard input ends; with `MOA_HUB_CAS` large files are in that storage of xet.
#[test]
#[ignore = "a server for tests/hub/peers/run"]
fn serve() {
    let port = std::env::var("MOA_HUB_PORT").ok().and_then(|port| port.parse().ok());
    let hub = TestHub::start_at(port.expect("MOA_HUB_PORT"));
    hub.state().cas = std::env::var("MOA_HUB_CAS").ok();
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
}

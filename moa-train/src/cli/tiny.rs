//! TEMP
/// x
#[derive(clap::Args)]
pub struct Tiny {}
impl Tiny { pub fn run(self) -> anyhow::Result<()> { Ok(()) } }

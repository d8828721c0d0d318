//! TEMP
/// x
#[derive(clap::Args)]
pub struct Merge {}
impl Merge { pub fn run(self) -> anyhow::Result<()> { Ok(()) } }

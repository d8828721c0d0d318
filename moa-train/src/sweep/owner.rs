//! Who a worker is, and whether another one is still alive.

use serde::{Deserialize, Serialize};

/// A process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Owner {
    /// Name of its machine.
    pub host: String,
    /// What tells its machine, start of the system and table of processes from others; empty if
    /// the system does not say.
    pub system: String,
    /// Its number.
    pub pid: u32,
    /// When it began, on the system's clock.
    pub began: String,
}

impl Owner {
    /// This process.
    pub fn this() -> Self {
        let pid = std::process::id();
        let began = began(pid).unwrap_or_default();
        Self { host: host(), system: system().unwrap_or_default(), pid, began }
    }

    /// True if the process is certainly over; that can be told on its own machine alone.
    pub fn is_over(&self) -> bool {
        let here = system().is_some_and(|system| system == self.system);
        here && !self.began.is_empty() && began(self.pid).as_ref() != Some(&self.began)
    }
}

/// The name of this machine.
pub fn host() -> String {
    #[cfg(unix)]
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    #[cfg(not(unix))]
    let name = std::env::var("COMPUTERNAME").unwrap_or_default();
    name
}

/// This start of this system, and its table of processes: containers have their own.
fn system() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let table = std::fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot.trim(), table.display()))
}

/// When a process began, in ticks since the system did: numbers of processes are used again.
fn began(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    // A zombie works no more.
    (state != "Z" && state != "X").then(|| fields.nth(18).map(str::to_owned)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alive_and_over() {
        let this = Owner::this();
        assert!(!this.is_over());
        if cfg!(target_os = "linux") {
            assert!(Owner { began: "0".into(), ..this.clone() }.is_over());
            assert!(Owner { pid: u32::MAX, ..this.clone() }.is_over());
        }
        // Of another machine nothing is known.
        assert!(!Owner { system: "other".into(), pid: u32::MAX, ..this }.is_over());
    }
}

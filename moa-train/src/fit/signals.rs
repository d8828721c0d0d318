//! Ctrl-C, SIGTERM, SIGUSR1 and SIGHUP ask the loop to stop after a checkpoint.

use anyhow::{Context, Result};
use moa_infer::exit::note;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Set when a signal has arrived.
#[derive(Clone, Debug, Default)]
pub struct StopFlag {
    own: Arc<AtomicBool>,
    /// Set for all of several jobs.
    above: Option<Arc<AtomicBool>>,
}

impl StopFlag {
    /// Listens to the signals. A second Ctrl-C ends the program at once.
    ///
    /// # Errors
    /// If the signals cannot be listened to.
    pub fn listen() -> Result<Self> {
        use signal_hook::consts::{SIGINT, SIGTERM};
        let flag = Self::default();
        signal_hook::flag::register_conditional_shutdown(SIGINT, 130, flag.own.clone())
            .context("cannot listen to signals")?;
        let mut signals = vec![SIGINT, SIGTERM];
        #[cfg(unix)]
        signals.push(signal_hook::consts::SIGUSR1);
        #[cfg(unix)]
        if !hangups_are_ignored() {
            signals.push(signal_hook::consts::SIGHUP);
        }
        for signal in signals {
            signal_hook::flag::register(signal, flag.own.clone())
                .context("cannot listen to signals")?;
        }
        let seen = flag.clone();
        std::thread::Builder::new()
            .spawn(move || {
                while !seen.is_set() {
                    std::thread::sleep(Duration::from_millis(100));
                }
                note("stopping: this step is finished and a checkpoint written (Ctrl-C: at once)");
            })
            .context("cannot listen to signals")?;
        Ok(flag)
    }

    /// Sets the flag, as a signal does.
    pub fn set(&self) {
        self.own.store(true, Ordering::SeqCst);
    }

    /// A flag of its own that a signal sets as well.
    pub fn child(&self) -> Self {
        Self { own: Arc::default(), above: Some(self.own.clone()) }
    }

    /// True once a signal has arrived.
    pub fn is_set(&self) -> bool {
        let set = |flag: &Arc<AtomicBool>| flag.load(Ordering::SeqCst);
        set(&self.own) || self.above.as_ref().is_some_and(set)
    }
}

/// True under `nohup`, which wants a run to outlast its terminal. Where the system
/// does not tell (it is Linux's to do so), `nohup` is not overruled either.
#[cfg(unix)]
fn hangups_are_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_none_or(|mask| mask >> (signal_hook::consts::SIGHUP - 1) & 1 == 1)
}

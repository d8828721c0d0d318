//! Several workers on one machine, each a process.

use super::folder::Folder;
use super::worker::{Options, Tally};
use crate::fit::signals::StopFlag;
use anyhow::{Context, Result};
use moa_infer::exit::{Exit, INTERRUPTED, note};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

/// Runs as many workers as `devices` has entries, shared devices repeated, until all jobs are
/// over. One that dies is started again.
///
/// # Errors
/// If a signal came, or a worker cannot be started.
pub fn run(
    folder: &Folder,
    devices: &[Option<String>],
    options: &Options,
    stop: &StopFlag,
) -> Result<Tally> {
    let threads = threads(devices.len());
    let mut team = Vec::new();
    for device in devices {
        team.push((device, Some(start(folder, device.as_deref(), options, threads)?)));
    }
    let (mut told, mut worst) = (false, None::<ExitStatus>);
    while team.iter().any(|(_, child)| child.is_some()) {
        if stop.is_set() && !told {
            team.iter().filter_map(|(_, child)| child.as_ref()).for_each(ask_to_stop);
            told = true;
        }
        for (device, slot) in &mut team {
            let Some(child) = slot else { continue };
            let Some(status) = child.try_wait().context("a worker cannot be waited for")? else {
                continue;
            };
            *slot = None;
            match status.code() {
                None if !stop.is_set() => {
                    note(format_args!("a worker died ({status}); another one takes its place"));
                    *slot = Some(start(folder, device.as_deref(), options, threads)?);
                }
                Some(0) => {}
                _ => worst = Some(status),
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    if stop.is_set() {
        let message = "interrupted; the same command goes on".to_string();
        return Err(Exit { code: INTERRUPTED, message }.into());
    }
    match worst {
        Some(status) => anyhow::bail!("a worker ended early ({status}); what it said is above"),
        None => Ok(Tally::of(folder)),
    }
}

/// Threads for each of some workers.
fn threads(workers: usize) -> usize {
    let all = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (all / workers.max(1)).max(1)
}

fn start(
    folder: &Folder,
    device: Option<&str>,
    options: &Options,
    threads: usize,
) -> Result<Child> {
    let program = std::env::current_exe().context("this program's own file is not known")?;
    let mut command = Command::new(program);
    command.args(["sweep", "run", "--member"]).arg(&folder.dir);
    command.args(["--heartbeat", &options.heartbeat.as_secs_f64().to_string()]);
    if !options.wait {
        command.arg("--no-wait");
    }
    if let Some(device) = device {
        command.args(["--device", device]);
    }
    command.env("RAYON_NUM_THREADS", threads.to_string());
    command.spawn().context("a worker cannot be started")
}

/// It writes a checkpoint and ends.
fn ask_to_stop(child: &Child) {
    #[cfg(unix)]
    if let Some(pid) = rustix::process::Pid::from_raw(child.id() as i32) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::USR1);
    }
    #[cfg(not(unix))]
    let _ = child; // Ctrl-C reaches all programs of a console
}

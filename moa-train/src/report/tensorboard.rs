//! Runs as TensorBoard's event files: scalars of every step and evaluation.
//!
//! A file is a list of records, `length, checksum, event, checksum`; an event is a protocol buffer of
//! four fields (`tensorboard/compat/proto/event.proto`, `summary.proto`), written here by hand.

use super::runs::Run;
use anyhow::{Context, Result};
use moa_core::files::write_whole;
use serde_json::Value;
use std::path::Path;
use std::time::UNIX_EPOCH;

/// Writes `out/RUN/events.out.tfevents.moa` for each run that has `events.jsonl`; returns how many.
/// A file that is there is replaced, so that a run that goes on can be written again.
///
/// # Errors
/// If a log cannot be read, or a file not be written.
pub fn write(runs: &[Run], out: &Path) -> Result<usize> {
    let mut count = 0;
    for run in runs {
        let log = run.dir.join("events.jsonl");
        if !log.is_file() {
            continue; // results that were collected without their logs
        }
        let name = run.dir.file_name().unwrap_or(run.dir.as_os_str());
        let dir = out.join(name);
        std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        let text = std::fs::read_to_string(&log).with_context(|| log.display().to_string())?;
        // The log has no times; TensorBoard wants one.
        let changed = log.metadata().and_then(|data| data.modified()).ok();
        let time = changed.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let time = time.map_or(0.0, |time| time.as_secs_f64());
        write_whole(&dir.join("events.out.tfevents.moa"), file(&text, time))?;
        count += 1;
    }
    Ok(count)
}

fn file(log: &str, time: f64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut version = Vec::new();
    double(&mut version, 1, time);
    field(&mut version, 3, b"brain.Event:2");
    record(&mut bytes, &version);
    // A last line may be half written.
    for line in log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let Some(step) = line.get("step").and_then(Value::as_u64) else { continue };
        let mut summary = Vec::new();
        for (tag, value) in scalars(&line) {
            let mut entry = Vec::new();
            field(&mut entry, 1, tag.as_bytes());
            entry.push(2 << 3 | 5); // a float
            entry.extend((value as f32).to_le_bytes());
            field(&mut summary, 1, &entry);
        }
        let mut event = Vec::new();
        double(&mut event, 1, time);
        event.push(2 << 3); // a number
        varint(&mut event, step + 1);
        field(&mut event, 5, &summary);
        record(&mut bytes, &event);
    }
    bytes
}

/// Tags and values of a line of the log.
fn scalars(line: &Value) -> Vec<(String, f64)> {
    let number = |key: &str| line.get(key).and_then(Value::as_f64);
    let mut all = Vec::new();
    if line.get("kind").is_some_and(|kind| kind == "step") {
        for key in ["loss", "ce", "balance", "miro", "grad_norm", "lr", "images_per_s"] {
            all.extend(number(key).map(|value| (format!("train/{key}"), value)));
        }
        let layers = line.get("usage").and_then(Value::as_object);
        for (layer, counts) in layers.into_iter().flatten() {
            let counts: Vec<f64> =
                counts.as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
            let total = counts.iter().sum::<f64>().max(1.0);
            let share =
                |(expert, n): (usize, &f64)| (format!("experts/{layer}/{expert}"), n / total);
            all.extend(counts.iter().enumerate().map(share));
        }
        return all;
    }
    all.extend(number("train_out").map(|value| ("accuracy/validation".into(), value)));
    for (env, parts) in line.get("envs").and_then(Value::as_object).into_iter().flatten() {
        for part in ["in", "out"] {
            let value = parts.get(part).and_then(Value::as_f64);
            all.extend(value.map(|value| (format!("accuracy/{env}/{part}"), value)));
        }
    }
    all
}

fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

fn field(to: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    to.push(number << 3 | 2);
    varint(to, bytes.len() as u64);
    to.extend(bytes);
}

fn double(to: &mut Vec<u8>, number: u8, value: f64) {
    to.push(number << 3 | 1);
    to.extend(value.to_le_bytes());
}

fn record(to: &mut Vec<u8>, data: &[u8]) {
    let length = (data.len() as u64).to_le_bytes();
    to.extend(length);
    to.extend(masked(&length).to_le_bytes());
    to.extend(data);
    to.extend(masked(data).to_le_bytes());
}

/// TensorFlow's checksum of a record.
fn masked(data: &[u8]) -> u32 {
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, data) as u32;
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record() {
        // CRC-32C of "123456789" is e3069283.
        assert_eq!(masked(b"123456789"), 0xe306_9283u32.rotate_right(15).wrapping_add(0xa282_ead8));
        let log = "{\"kind\":\"step\",\"step\":299,\"loss\":0.5}\n{\"kind\":\"eval\",\"step\":";
        let bytes = file(log, 1.0);
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap_or_default()) as usize;
        let second = &bytes[8 + 4 + length + 4..];
        let event = &second[12..second.len() - 4];
        assert_eq!(event[9..12], [2 << 3, 0xac, 0x02]); // step 300
        assert!(event.ends_with(&0.5f32.to_le_bytes()));
    }
}

//! moa-train

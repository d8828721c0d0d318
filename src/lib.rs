//! moa

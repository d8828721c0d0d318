//! moa-core

//! TEMPORARY stand-in for compiling
#![allow(missing_docs)]
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use crate::image::Preprocess;
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MlpKind { Gelu, QuickGelu, SwiGlu }
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pool { Cls, Avg }
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HeadKind { Pooled, ClsAndPatchMean }
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layout { Timm }
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VitConfig {
    pub image_size: (usize, usize), pub patch_size: usize, pub dim: usize, pub depth: usize, pub heads: usize,
    pub mlp_hidden: usize, pub mlp: MlpKind, pub norm_eps: f64, pub pre_norm: bool, pub patch_bias: bool, pub qkv_bias: bool,
    pub layer_scale: bool, pub registers: usize, pub pos_embed_prefix: usize, pub pool: Pool, pub head: Option<HeadKind>,
}
impl VitConfig {
    pub fn grid(&self) -> (usize, usize) { (self.image_size.0 / self.patch_size, self.image_size.1 / self.patch_size) }
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> { Vec::new() }
}
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct BackboneError;
pub struct RawTensor { pub shape: Vec<usize>, pub data: Vec<f32> }
pub struct Backbone { pub config: VitConfig, pub preprocess: Preprocess, pub class_names: Option<Vec<String>>, pub layout: Layout, pub files: Vec<PathBuf> }
impl Backbone {
    pub fn open(_: &Path) -> Result<Self, BackboneError> { Err(BackboneError) }
    pub fn tiny() -> Result<Self, BackboneError> { Err(BackboneError) }
    pub fn read(&self, _: &str) -> Result<RawTensor, BackboneError> { Err(BackboneError) }
    pub fn pos_embed(&self, _: (usize, usize)) -> Result<Vec<f32>, BackboneError> { Err(BackboneError) }
    pub fn sha256(&self) -> Result<String, BackboneError> { Err(BackboneError) }
}
pub mod registry {
    pub struct Known { pub files: Vec<String>, pub repo: String, pub licence: String, pub vit: super::VitConfig }
    pub fn find(_: &str) -> Result<Known, super::BackboneError> { Err(super::BackboneError) }
    pub fn names() -> Vec<&'static str> { Vec::new() }
}

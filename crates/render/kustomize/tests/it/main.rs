//! Kustomizations compared with what real kustomize 5.5 makes of them.

mod cases;
mod disk;
mod repositories;
mod safety;

//! Kustomizations compared with what real kustomize 5.5 makes of them.

mod cases;
mod disk;
mod links;
mod outside;
mod repositories;
mod safety;

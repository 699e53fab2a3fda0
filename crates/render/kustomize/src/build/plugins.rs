//! Generators, transformers and validators: those of a kustomization's own fields, and those that objects configure.

use super::{Accumulated, Builder, Target};
use crate::charts::Chart;
use crate::kustomization::HelmChart;
use crate::origin::Origin;
use crate::plugin::{self, Generate};
use crate::resource::{self, Resource};
use crate::resources::Resources;
use crate::transform::{self, Step};
use crate::{Error, generate};

/// The label a validator may leave on what it has seen.
const VALIDATED_BY: &str = "validated-by";

impl Builder {
    pub(super) fn generate(
        &mut self,
        target: &Target<'_>,
        accumulated: &mut Accumulated,
    ) -> Result<(), Error> {
        let mut generators: Vec<(Generate, Option<Origin>)> = Vec::new();
        let builtin = |kind: &str| target.origin.as_ref().map(|origin| origin.of_builtin(target.name, kind));
        let maps = target.file.config_map_generator.iter();
        let maps = maps.map(|generator| (generate::Target::ConfigMap, "ConfigMapGenerator", generator));
        let secrets = target.file.secret_generator.iter();
        let secrets = secrets.map(|generator| (generate::Target::Secret, "SecretGenerator", generator));
        for (kind, name, generator) in maps.chain(secrets) {
            let generator = generate::with_options(generator, target.file.generator_options.as_ref());
            generators.push((Generate::Map(kind, generator), builtin(name)));
        }
        for chart in &target.file.helm_charts {
            let chart = with_namespace(chart, target);
            let configuration = chart.configuration();
            let chart = Chart::new(chart, target.file.helm_globals.as_ref(), &target.loader)
                .map_err(|error| transform::troubled(error, "HelmChartInflationGenerator", &configuration))?;
            generators.push((Generate::Chart(Box::new(chart)), builtin("HelmChartInflationGenerator")));
        }
        let configured = self
            .configurations(&target.file.generators, target)
            .and_then(|configurations| {
                configurations
                    .list
                    .iter()
                    .map(|resource| {
                        let generator = plugin::generator(resource, &target.loader)
                            .map_err(|error| error.within("failed to load generator"))?;
                        Ok((generator, configured_origin(resource)))
                    })
                    .collect::<Result<Vec<_>, _>>()
            })
            .map_err(|error| error.within("loading generator plugins"))?;
        generators.extend(configured);
        for (generator, origin) in &generators {
            self.run_generator(generator, origin.as_ref(), target, accumulated)?;
        }
        Ok(())
    }

    fn run_generator(
        &self,
        generator: &Generate,
        origin: Option<&Origin>,
        target: &Target<'_>,
        accumulated: &mut Accumulated,
    ) -> Result<(), Error> {
        let found = match generator {
            Generate::Map(kind, generator) => vec![generate::generate(*kind, generator, &target.loader)?],
            Generate::Chart(chart) => chart.render(&target.loader)?,
            Generate::Account(policy) => vec![policy.generate()?],
        };
        for mut resource in found {
            if let Some(origin) = origin
                && resource.origin().is_none()
            {
                resource.set_origin(origin)?;
            }
            accumulated
                .resources
                .absorb(resource, &self.schema)
                .map_err(|error| error.within("merging from generator"))?;
        }
        Ok(())
    }

    pub(super) fn configured_transformers(
        &mut self,
        entries: &[String],
        target: &Target<'_>,
    ) -> Result<Vec<Step>, Error> {
        let configurations = self.configurations(entries, target)?;
        configurations
            .list
            .iter()
            .map(|resource| {
                let transformer = plugin::transformer(resource, &target.loader)?;
                Ok(Step { transformer, origin: configured_origin(resource) })
            })
            .collect()
    }

    /// Runs the validators, which may not change anything but their label.
    pub(super) fn validate(&mut self, target: &Target<'_>, resources: &mut Resources) -> Result<(), Error> {
        for Step { transformer, .. } in self.configured_transformers(&target.file.validators, target)? {
            let before = resources.list.clone();
            transformer.run(resources, &self.schema)?;
            let same = before.len() == resources.list.len()
                && before.iter().zip(&resources.list).all(|(before, after)| {
                    let mut after = after.clone();
                    after.remove_label(VALIDATED_BY);
                    before.node == after.node
                });
            if !same {
                return Err(Error::invalid("validator shouldn't modify the resource map"));
            }
        }
        Ok(())
    }

    /// The objects that configure plugins: inline, in files, or made by other kustomizations.
    fn configurations(&mut self, entries: &[String], target: &Target<'_>) -> Result<Resources, Error> {
        let (mut gathered, mut paths) = (Accumulated::default(), Vec::new());
        for entry in entries {
            let Ok(mut inline) = resource::parse("inline", entry) else {
                paths.push(entry.clone());
                continue;
            };
            if let Some(origin) = &target.origin {
                let origin = origin.append(target.name);
                inline.iter_mut().try_for_each(|resource| resource.set_origin(&origin))?;
            }
            gathered.resources.append_all(inline, &self.schema)?;
        }
        self.add_resources(&paths, target, &mut gathered)?;
        Ok(gathered.resources)
    }
}

/// A chart without a namespace gets that of the kustomization, or of those around it.
fn with_namespace(chart: &HelmChart, target: &Target<'_>) -> HelmChart {
    let mut chart = chart.clone();
    for namespace in [&target.file.namespace, &target.chart_namespace] {
        if chart.namespace.is_empty() {
            chart.namespace.clone_from(namespace);
        }
    }
    chart
}

/// What a plugin makes or changes is recorded under its configuration.
fn configured_origin(resource: &Resource) -> Option<Origin> {
    let by = [resource.api_version(), resource.kind(), resource.name(), resource.namespace()];
    resource.origin().map(|origin| origin.configured(by.map(str::to_owned)))
}

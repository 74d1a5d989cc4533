//! What is covered, and which class it gets, under its Python name.
use holdfast_engine::ClassId;
use holdfast_engine::detect::{RULES, Target};
use holdfast_pipeline::ingest as run;
use holdfast_pipeline::scan::{RuleConfig, ScanConfig};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// What a backup covers.
#[pyclass(frozen, module = "holdfast._core")]
pub struct ScanPlan {
    roots: Vec<Vec<u8>>,
    own_paths: Vec<Vec<u8>>,
    exclude: Vec<String>,
    exclude_caches: bool,
    exclude_larger_than: Option<u64>,
    one_file_system: bool,
    class_rules: Vec<(String, u16)>,
    default_class: u16,
    raised: Vec<(Vec<u8>, u16)>,
}

#[pymethods]
impl ScanPlan {
    #[new]
    #[pyo3(signature = (*, roots, own_paths=Vec::new(), exclude=Vec::new(), exclude_caches=true,
        exclude_larger_than=None, one_file_system=false, class_rules=Vec::new(), default_class=1, raised=Vec::new()))]
    // The parameters are those of the Python class.
    #[allow(clippy::too_many_arguments, clippy::fn_params_excessive_bools)]
    fn new(
        roots: Vec<Vec<u8>>,
        own_paths: Vec<Vec<u8>>,
        exclude: Vec<String>,
        exclude_caches: bool,
        exclude_larger_than: Option<u64>,
        one_file_system: bool,
        class_rules: Vec<(String, u16)>,
        default_class: u16,
        raised: Vec<(Vec<u8>, u16)>,
    ) -> Self {
        Self {
            roots,
            own_paths,
            exclude,
            exclude_caches,
            exclude_larger_than,
            one_file_system,
            class_rules,
            default_class,
            raised,
        }
    }
}

impl ScanPlan {
    /// The plan with class ids replaced by positions in `classes`.
    pub fn config(&self, classes: &[u16]) -> PyResult<ScanConfig> {
        let position = |class: u16| {
            let found = classes.iter().position(|known| *known == class);
            found.map(|position| position as u16).ok_or_else(|| {
                PyValueError::new_err(format!("class {class} is in a rule, but not written to"))
            })
        };
        let rules = self.class_rules.iter();
        Ok(ScanConfig {
            roots: self.roots.clone(),
            own_paths: self.own_paths.clone(),
            walkers: 2,
            rules: RuleConfig {
                exclude: self.exclude.clone(),
                classes: rules
                    .map(|(pattern, class)| Ok((pattern.clone(), position(*class)?)))
                    .collect::<PyResult<_>>()?,
                default_class: position(self.default_class)?,
                // A class that is written to no longer raises nothing.
                raised: self
                    .raised
                    .iter()
                    .filter_map(|(folder, class)| Some((folder.clone(), position(*class).ok()?)))
                    .collect(),
                roots: self
                    .roots
                    .iter()
                    .map(|root| root.strip_prefix(b"/").unwrap_or(root).to_vec())
                    .collect(),
                exclude_caches: self.exclude_caches,
                one_file_system: self.one_file_system,
                file_bytes_max: self.exclude_larger_than,
            },
        })
    }
}

/// Whether a rule of the detectors raises to a class.
fn is_named(class: u16) -> bool {
    let target = Target::Class(ClassId(class));
    RULES.iter().any(|rule| rule.target() == target)
}

/// To which position each class raises: classes stand in the order of their sensitivity.
pub fn raise(classes: &[u16]) -> run::Raise {
    run::Raise {
        classes: classes
            .iter()
            .enumerate()
            .filter(|(_, class)| is_named(**class))
            .map(|(position, class)| (*class, position as u16))
            .collect(),
    }
}

/// Adds the class to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ScanPlan>()
}

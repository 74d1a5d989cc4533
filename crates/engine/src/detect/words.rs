//! What a detection says.
use crate::ClassId;

/// How sure a rule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Confidence {
    /// The bytes fit, and other data may fit too.
    Possible,
    /// A signature at its place.
    Likely,
    /// A signature and the structure that must follow it.
    Certain,
}

impl Confidence {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Possible => "possible",
            Self::Likely => "likely",
            Self::Certain => "certain",
        }
    }
}

/// To which data class a rule raises a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// This class of the format.
    Class(ClassId),
    /// None by itself: the content cannot be seen, so it is as sensitive as its source and as what lies beside it.
    Source,
    /// None: it is known to be harmless.
    Nothing,
}

/// A rule, by what it recognises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // The words say it: see `Rule::word`.
pub enum Rule {
    Dicom,
    DicomBare,
    DicomDir,
    Hl7,
    Hl7Batch,
    FhirJson,
    FhirXml,
    FhirConformance,
    Cda,
    X12,
    NcpdpScript,
    NcpdpTelecom,
    Edifact,
    Identifiers,
    PostgresPage,
    PostgresDump,
    InnoDb,
    SqlServerData,
    SqlServerBackup,
    OracleData,
    Sqlite,
    WiredTiger,
    Access,
    ExchangeStore,
    OutlookStore,
    RedisDump,
    VirtualDisk,
    Document,
    Scan,
    Opaque,
}

/// Every rule, in the order of the documentation.
pub const RULES: [Rule; 30] = [
    Rule::Dicom,
    Rule::DicomBare,
    Rule::DicomDir,
    Rule::Hl7,
    Rule::Hl7Batch,
    Rule::FhirJson,
    Rule::FhirXml,
    Rule::FhirConformance,
    Rule::Cda,
    Rule::X12,
    Rule::NcpdpScript,
    Rule::NcpdpTelecom,
    Rule::Edifact,
    Rule::Identifiers,
    Rule::PostgresPage,
    Rule::PostgresDump,
    Rule::InnoDb,
    Rule::SqlServerData,
    Rule::SqlServerBackup,
    Rule::OracleData,
    Rule::Sqlite,
    Rule::WiredTiger,
    Rule::Access,
    Rule::ExchangeStore,
    Rule::OutlookStore,
    Rule::RedisDump,
    Rule::VirtualDisk,
    Rule::Document,
    Rule::Scan,
    Rule::Opaque,
];

/// `phi` of the format.
const PHI: Target = Target::Class(ClassId(1));
/// `imaging` of the format.
const IMAGING: Target = Target::Class(ClassId(3));
/// `database` of the format.
const DATABASE: Target = Target::Class(ClassId(4));

impl Rule {
    /// Its stable word and the class it raises to.
    fn row(self) -> (&'static str, Target) {
        match self {
            Self::Dicom => ("dicom", IMAGING),
            Self::DicomBare => ("dicom-bare", IMAGING),
            Self::DicomDir => ("dicomdir", IMAGING),
            Self::Hl7 => ("hl7v2", PHI),
            Self::Hl7Batch => ("hl7v2-batch", PHI),
            Self::FhirJson => ("fhir-json", PHI),
            Self::FhirXml => ("fhir-xml", PHI),
            Self::FhirConformance => ("fhir-conformance", Target::Nothing),
            Self::Cda => ("cda", PHI),
            Self::X12 => ("x12", PHI),
            Self::NcpdpScript => ("ncpdp-script", PHI),
            Self::NcpdpTelecom => ("ncpdp-telecom", PHI),
            Self::Edifact => ("edifact", PHI),
            Self::Identifiers => ("identifiers", PHI),
            Self::PostgresPage => ("postgresql-page", DATABASE),
            Self::PostgresDump => ("postgresql-dump", DATABASE),
            Self::InnoDb => ("innodb", DATABASE),
            Self::SqlServerData => ("sqlserver-data", DATABASE),
            Self::SqlServerBackup => ("sqlserver-backup", DATABASE),
            Self::OracleData => ("oracle-data", DATABASE),
            Self::Sqlite => ("sqlite", DATABASE),
            Self::WiredTiger => ("wiredtiger", DATABASE),
            Self::Access => ("access", DATABASE),
            Self::ExchangeStore => ("ese", DATABASE),
            Self::OutlookStore => ("outlook-store", PHI),
            Self::RedisDump => ("redis-dump", DATABASE),
            Self::VirtualDisk => ("virtual-disk", Target::Source),
            Self::Document => ("document", Target::Source),
            Self::Scan => ("scan", Target::Source),
            Self::Opaque => ("opaque", Target::Source),
        }
    }

    /// Its stable word, as reports have it.
    pub fn word(self) -> &'static str {
        self.row().0
    }

    /// The class it raises to.
    pub fn target(self) -> Target {
        self.row().1
    }

    /// A detection by this rule, as detectors return it.
    #[allow(clippy::unnecessary_wraps)]
    pub(super) fn found(self, confidence: Confidence) -> Option<Detection> {
        Some(Detection {
            rule: self,
            confidence,
        })
    }
}

/// What was recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detection {
    /// By which rule.
    pub rule: Rule,
    /// How sure.
    pub confidence: Confidence,
}

//! Clinical formats: DICOM, HL7 v2, FHIR, C-CDA, X12, NCPDP, EDIFACT.
use memchr::memmem;

use super::words::{Confidence, Detection, Rule};
use super::{has, u16_le, u32_le};

/// DICOM PS3.10 §7.1: the prefix after a preamble of 128 bytes.
const DICOM_PREFIX_AT: usize = 128;
/// SOP class of a media directory (DICOM PS3.4), with its root.
const MEDIA_DIRECTORY: &[u8] = b"1.2.840.10008.1.3.10";
/// Length of an X12 ISA segment, its terminator included.
const ISA_BYTES: usize = 106;
/// Attributes before this byte must name the directory, if it is one.
const META_BYTES: usize = 1024;

/// Formats whose first bytes decide.
pub(super) fn fixed(head: &[u8]) -> Option<Detection> {
    if has(head, DICOM_PREFIX_AT, b"DICM") {
        let meta = head.get(..META_BYTES).unwrap_or(head);
        let rule = match memmem::find(meta, MEDIA_DIRECTORY) {
            Some(_) => Rule::DicomDir,
            None => Rule::Dicom,
        };
        return rule.found(Confidence::Certain);
    }
    match head.first()? {
        0x0b | b'M' | b'F' | b'B' | 0xef => hl7(head).or_else(|| dicom_bare(head)),
        b'I' => x12(head),
        b'U' => edifact(head),
        0x02 if telecom(head) => Rule::NcpdpTelecom.found(Confidence::Likely),
        0x00 | 0x02 | 0x08 => dicom_bare(head),
        _ if telecom(head) => Rule::NcpdpTelecom.found(Confidence::Likely),
        _ => None,
    }
}

/// HL7 v2 (chapter 2): a header segment, the field separator behind its name, four or five encoding characters, all
/// different; a batch begins with FHS or BHS. In MLLP a message is between 0x0b and 0x1c 0x0d.
fn hl7(head: &[u8]) -> Option<Detection> {
    let body = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let body = body.strip_prefix(b"\x0b").unwrap_or(body);
    let (name, rest) = body.split_first_chunk::<3>()?;
    let rule = match name {
        b"MSH" => Rule::Hl7,
        b"FHS" | b"BHS" => Rule::Hl7Batch,
        _ => return None,
    };
    let (separator, rest) = rest.split_first()?;
    let length = rest.iter().position(|byte| byte == separator)?;
    let encoding = rest.get(..length)?;
    let punctuation = |byte: &u8| byte.is_ascii_punctuation();
    let different = encoding
        .iter()
        .enumerate()
        .all(|(at, byte)| !encoding.iter().skip(at + 1).any(|other| other == byte));
    if !punctuation(separator)
        || !(2..=5).contains(&length)
        || !encoding.iter().all(punctuation)
        || !different
    {
        return None;
    }
    // Further segments are behind carriage returns; senders that write line feeds are common.
    let more = memchr::memchr2_iter(b'\r', b'\n', rest)
        .any(|at| rest.get(at + 4).is_some_and(|byte| byte == separator));
    rule.found(if more {
        Confidence::Certain
    } else {
        Confidence::Likely
    })
}

/// A data set without preamble (DICOM PS3.5 §7.1): two elements in ascending order, of groups 0002 or 0008.
fn dicom_bare(head: &[u8]) -> Option<Detection> {
    little_endian(head)
        .or_else(|| big_endian(head))
        .filter(|plausible| *plausible)
        .and_then(|_| Rule::DicomBare.found(Confidence::Likely))
}

fn little_endian(head: &[u8]) -> Option<bool> {
    let (group, element) = (u16_le(head, 0)?, u16_le(head, 2)?);
    if !matches!(group, 2 | 8) || element > 0x0100 {
        return None;
    }
    let (length, front) = if head.get(4..6)?.iter().all(u8::is_ascii_uppercase) {
        explicit(head, false)?
    } else {
        (u32_le(head, 4)? as usize, 8)
    };
    if length > 1024 || length % 2 != 0 {
        return None;
    }
    let next = front + length;
    let (following, after) = (u16_le(head, next)?, u16_le(head, next + 2)?);
    Some((following, after) > (group, element) && matches!(following, 2 | 8 | 0x10 | 0x20 | 0x28))
}

fn big_endian(head: &[u8]) -> Option<bool> {
    let group = u16_le(head, 0)?.swap_bytes();
    let known = matches!(group, 2 | 8) && head.get(4..6)?.iter().all(u8::is_ascii_uppercase);
    if !known {
        return None;
    }
    let (length, front) = explicit(head, true)?;
    let next = front + length;
    let following = u16_le(head, next)?.swap_bytes();
    Some(length <= 1024 && following >= group && matches!(following, 2 | 8 | 0x10 | 0x20 | 0x28))
}

/// Length of the first element's value and where it begins, where its type is written out.
fn explicit(head: &[u8], swapped: bool) -> Option<(usize, usize)> {
    let long = matches!(
        head.get(4..6)?,
        b"OB" | b"OW" | b"OF" | b"SQ" | b"UT" | b"UN"
    );
    if long {
        let length = u32_le(head, 8)?;
        let length = if swapped { length.swap_bytes() } else { length };
        return Some((length as usize, 12));
    }
    let length = u16_le(head, 6)?;
    let length = if swapped { length.swap_bytes() } else { length };
    Some((usize::from(length), 8))
}

/// ASC X12: an ISA segment has a fixed length, so the separators stand at known places, and a GS segment follows.
fn x12(head: &[u8]) -> Option<Detection> {
    let isa = head.get(..ISA_BYTES)?;
    let element = *isa.get(3)?;
    let ends = [
        3, 6, 17, 20, 31, 34, 50, 53, 69, 76, 81, 83, 89, 99, 101, 103,
    ];
    let fits = isa.starts_with(b"ISA")
        && !element.is_ascii_alphanumeric()
        && ends.iter().all(|at| isa.get(*at) == Some(&element));
    if !fits {
        return None;
    }
    let rest = head.get(ISA_BYTES..)?;
    let rest = rest.trim_ascii_start();
    if rest.starts_with(b"GS") && rest.get(2) == Some(&element) {
        return Rule::X12.found(Confidence::Certain);
    }
    Rule::X12.found(Confidence::Likely)
}

/// ISO 9735: an optional UNA of nine bytes, then UNB and its separator.
fn edifact(head: &[u8]) -> Option<Detection> {
    let body = match head.strip_prefix(b"UNA") {
        Some(rest) => rest.get(6..)?.trim_ascii_start(),
        None => head,
    };
    let rest = body.strip_prefix(b"UNB")?;
    let (separator, rest) = rest.split_first()?;
    (separator.is_ascii_punctuation() && rest.starts_with(b"UNO"))
        .then(|| Rule::Edifact.found(Confidence::Certain))
        .flatten()
}

/// NCPDP Telecommunication D.0: fields behind 0x1c, segments behind 0x1e, version `D0` behind the BIN number.
fn telecom(head: &[u8]) -> bool {
    let head = head.strip_prefix(b"\x02").unwrap_or(head);
    let bin = head
        .get(..6)
        .is_some_and(|bin| bin.iter().all(u8::is_ascii_digit));
    bin && has(head, 6, b"D0")
        && head
            .get(8..256.min(head.len()))
            .is_some_and(|rest| rest.contains(&0x1e) && rest.contains(&0x1c))
}

/// JSON and XML formats.
pub(super) fn markup(head: &[u8]) -> Option<Detection> {
    let narrow;
    let head = match head {
        [0xff, 0xfe, rest @ ..] => {
            narrow = halved(rest, 0);
            &narrow
        }
        [0xfe, 0xff, rest @ ..] => {
            narrow = halved(rest, 1);
            &narrow
        }
        [b'<', 0, rest @ ..] if rest.get(1) == Some(&0) => {
            narrow = halved(head, 0);
            &narrow
        }
        _ => head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head),
    };
    match head.trim_ascii_start().first()? {
        b'{' | b'[' => fhir_json(head),
        b'<' => xml(head),
        _ => None,
    }
}

/// Every second byte of UTF-16: signatures are ASCII.
fn halved(wide: &[u8], at: usize) -> Vec<u8> {
    wide.chunks_exact(2)
        .filter_map(|pair| pair.get(at).copied())
        .collect()
}

/// Resources of FHIR that describe systems, not patients (HL7 FHIR R4, conformance and terminology).
const CONFORMANCE: [&[u8]; 14] = [
    b"StructureDefinition",
    b"CapabilityStatement",
    b"OperationDefinition",
    b"SearchParameter",
    b"CompartmentDefinition",
    b"ImplementationGuide",
    b"CodeSystem",
    b"ValueSet",
    b"ConceptMap",
    b"NamingSystem",
    b"StructureMap",
    b"GraphDefinition",
    b"MessageDefinition",
    b"TerminologyCapabilities",
];

/// A JSON or NDJSON resource. Of several (a bundle, lines), one that is no conformance resource decides.
fn fhir_json(head: &[u8]) -> Option<Detection> {
    let mut found = None;
    let mut bundle = false;
    for at in memmem::find_iter(head, b"\"resourceType\"").take(64) {
        let rest = head.get(at + 14..)?.trim_ascii_start();
        let Some(rest) = rest.strip_prefix(b":") else {
            continue;
        };
        let Some(rest) = rest.trim_ascii_start().strip_prefix(b"\"") else {
            continue;
        };
        let length = rest.iter().take(40).position(|byte| *byte == b'"');
        let name = rest.get(..length.unwrap_or(0)).unwrap_or_default();
        if !name.first().is_some_and(u8::is_ascii_uppercase)
            || !name.iter().all(u8::is_ascii_alphabetic)
        {
            continue;
        }
        match name {
            b"Bundle" => bundle = true,
            _ if CONFORMANCE.contains(&name) => found = Some(Rule::FhirConformance),
            _ => return Rule::FhirJson.found(Confidence::Certain),
        }
    }
    // A bundle whose members lie beyond the head may hold patients.
    let rule = found.or(bundle.then_some(Rule::FhirJson))?;
    rule.found(Confidence::Likely)
}

fn xml(head: &[u8]) -> Option<Detection> {
    let near = head.get(..8192).unwrap_or(head);
    if memmem::find(near, b"http://hl7.org/fhir\"").is_some()
        || memmem::find(near, b"http://hl7.org/fhir'").is_some()
    {
        let root = root_name(near).unwrap_or_default();
        return if CONFORMANCE.contains(&root) {
            Rule::FhirConformance.found(Confidence::Certain)
        } else {
            Rule::FhirXml.found(Confidence::Certain)
        };
    }
    if memmem::find(near, b"urn:hl7-org:v3").is_some() {
        let sure = memmem::find(near, b"ClinicalDocument").is_some();
        return Rule::Cda.found(if sure {
            Confidence::Certain
        } else {
            Confidence::Likely
        });
    }
    memmem::find(near, b"ncpdp.org/schema")
        .and_then(|_| Rule::NcpdpScript.found(Confidence::Certain))
}

/// The name of the first element, without its prefix.
fn root_name(head: &[u8]) -> Option<&[u8]> {
    let mut rest = head;
    loop {
        let at = memchr::memchr(b'<', rest)?;
        rest = rest.get(at + 1..)?;
        if rest.first().is_some_and(u8::is_ascii_alphabetic) {
            break;
        }
    }
    let length = rest
        .iter()
        .position(|byte| !byte.is_ascii_alphanumeric() && *byte != b':')?;
    let name = rest.get(..length)?;
    name.rsplit(|byte| *byte == b':').next()
}

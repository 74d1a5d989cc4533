//! What a file's name promises of its bytes, and whether they keep it: for signs of ransomware, never for what is stored.
//!
//! A name promises a kind by its extension; of `report.pdf.odd` the last extension that is known counts. Bytes are noise if they
//! cannot be told from random ones. Nothing here keeps or returns a byte of a name or of content.
use crate::detect::HEAD_BYTES;

/// What kind of file a name promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Text and markup, sources, logs, messages.
    Text,
    /// Office documents and the like.
    Document,
    /// Pictures.
    Image,
    /// Medical images.
    Dicom,
    /// Databases and disks of machines.
    Database,
    /// What is dense by design: compressed, encrypted, media.
    Dense,
    /// Nothing that is known.
    Other,
}

/// Every kind, in the order of its number.
pub const KINDS: [Kind; 7] = [
    Kind::Text,
    Kind::Document,
    Kind::Image,
    Kind::Dicom,
    Kind::Database,
    Kind::Dense,
    Kind::Other,
];

impl Kind {
    /// Its stable word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Document => "document",
            Self::Image => "image",
            Self::Dicom => "dicom",
            Self::Database => "database",
            Self::Dense => "dense",
            Self::Other => "other",
        }
    }
}

/// Extensions of a name that are looked at, from its end.
const EXTENSIONS_MAX: usize = 5;
/// The longest extension that is known.
const EXTENSION_BYTES_MAX: usize = 8;
/// Bytes of a sample that is looked at for being noise.
pub const SAMPLE_BYTES: usize = 1024;
/// Fewer bytes say nothing.
const NOISE_BYTES_MIN: usize = 256;

/// The kind that a file's name (no folder in it) promises.
pub fn kind_of(name: &[u8]) -> Kind {
    let mut rest = name;
    for _ in 0..EXTENSIONS_MAX {
        let Some(dot) = memchr::memrchr(b'.', rest).filter(|dot| *dot > 0) else {
            break;
        };
        let (before, extension) = rest.split_at_checked(dot).unwrap_or((rest, b""));
        let extension = extension.get(1..).unwrap_or_default();
        let mut lower = [0_u8; EXTENSION_BYTES_MAX];
        if let Some(lower) = lower.get_mut(..extension.len()) {
            lower.copy_from_slice(extension);
            lower.make_ascii_lowercase();
            if let Some(kind) = by_extension(lower) {
                return kind;
            }
        }
        rest = before;
    }
    Kind::Other
}

fn by_extension(extension: &[u8]) -> Option<Kind> {
    Some(match extension {
        b"txt" | b"csv" | b"tsv" | b"hl7" | b"xml" | b"xsd" | b"xsl" | b"json" | b"ndjson"
        | b"log" | b"htm" | b"html" | b"css" | b"js" | b"ts" | b"md" | b"rst" | b"ini"
        | b"conf" | b"cfg" | b"yml" | b"yaml" | b"toml" | b"sql" | b"py" | b"sh" | b"bat"
        | b"cmd" | b"ps1" | b"c" | b"h" | b"cpp" | b"cs" | b"java" | b"rb" | b"php" | b"rtf"
        | b"svg" | b"ics" | b"vcf" | b"x12" | b"edi" | b"eml" | b"mbox" | b"ldif" | b"tex"
        | b"pem" | b"crt" | b"rpt" | b"reg" | b"asc" => Kind::Text,
        b"pdf" | b"doc" | b"docx" | b"docm" | b"dot" | b"dotx" | b"xls" | b"xlsx" | b"xlsm"
        | b"xlsb" | b"ppt" | b"pptx" | b"pptm" | b"odt" | b"ods" | b"odp" | b"vsd" | b"vsdx"
        | b"msg" | b"pub" | b"mpp" => Kind::Document,
        b"jpg" | b"jpeg" | b"png" | b"gif" | b"tif" | b"tiff" | b"bmp" | b"jp2" | b"webp"
        | b"psd" => Kind::Image,
        b"dcm" | b"dicom" => Kind::Dicom,
        b"mdf" | b"ndf" | b"ldf" | b"ibd" | b"frm" | b"myd" | b"myi" | b"db" | b"sqlite"
        | b"sqlite3" | b"mdb" | b"accdb" | b"edb" | b"dbf" | b"fdb" | b"gdb" | b"wt" | b"vmdk"
        | b"vhd" | b"vhdx" | b"qcow2" | b"vdi" | b"pst" | b"ost" => Kind::Database,
        b"zip" | b"gz" | b"tgz" | b"bz2" | b"tbz" | b"xz" | b"txz" | b"zst" | b"lz4" | b"7z"
        | b"rar" | b"cab" | b"jar" | b"war" | b"apk" | b"whl" | b"deb" | b"rpm" | b"msi"
        | b"dmg" | b"br" | b"mp3" | b"mp4" | b"m4a" | b"m4v" | b"mov" | b"avi" | b"mkv"
        | b"webm" | b"ogg" | b"opus" | b"flac" | b"heic" | b"woff" | b"woff2" | b"bak" | b"trn"
        | b"dmp" | b"dump" | b"rdb" | b"gpg" | b"pgp" | b"p7m" | b"age" | b"kdbx" | b"jks"
        | b"p12" | b"pfx" | b"der" | b"cer" | b"vbk" | b"vib" | b"vrb" | b"parquet" | b"orc"
        | b"npz" | b"pack" => Kind::Dense,
        _ => return None,
    })
}

/// Signatures of what is dense by design, or holds what is, and where they stand.
const DENSE: [(usize, &[u8]); 29] = [
    (0, b"%PDF-"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    (0, b"PK\x03\x04"),
    (0, b"PK\x05\x06"),
    (0, b"\x1f\x8b"),
    (0, b"BZh"),
    (0, b"\xfd7zXZ"),
    (0, b"\x28\xb5\x2f\xfd"),
    (0, b"7z\xbc\xaf\x27\x1c"),
    (0, b"Rar!"),
    (0, b"MSCF"),
    (0, b"\x04\x22\x4d\x18"),
    (0, b"\x89PNG"),
    (0, b"GIF8"),
    (0, b"\xff\xd8\xff"),
    (0, b"II*\0"),
    (0, b"MM\0*"),
    (0, b"BM"),
    (0, b"8BPS"),
    (0, b"RIFF"),
    (0, b"\0\0\0\x0cjP  "),
    (4, b"ftyp"),
    (0, b"OggS"),
    (0, b"fLaC"),
    (0, b"ID3"),
    (0, b"\x1aE\xdf\xa3"),
    (0, b"wOF"),
    (0, b"PACK"),
    (0, b"PAR1"),
];
/// DICOM PS3.10 §7.1: the prefix after a preamble of 128 bytes.
const DICOM: (usize, &[u8]) = (128, b"DICM");
/// What is before a document's signature may be this long (ISO 32000-1, annex H).
const LEADING_BYTES_MAX: usize = 1024;

/// Whether the first bytes carry a signature of something dense, so that noise behind them is no wonder.
fn is_signed(kind: Kind, head: &[u8]) -> bool {
    let leading = head.get(..LEADING_BYTES_MAX).unwrap_or(head);
    DENSE.iter().any(|signature| has(head, *signature))
        || (kind == Kind::Document && memchr::memmem::find(leading, b"%PDF-").is_some())
}

/// Whether the bytes of a signature stand at its place.
fn has(head: &[u8], (at, bytes): (usize, &[u8])) -> bool {
    head.get(at..).is_some_and(|rest| rest.starts_with(bytes))
}

/// What was seen of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// What its name promises.
    pub kind: Kind,
    /// Its name or its first bytes say that it is dense by design.
    dense: bool,
    /// Its first bytes are noise, and no signature is before them.
    scrambled_head: bool,
    samples: u32,
    noisy: u32,
}

impl Look {
    /// Looks at a file's first bytes.
    pub fn new(name: &[u8], head: &[u8]) -> Self {
        let mut kind = kind_of(name);
        let head = head.get(..HEAD_BYTES).unwrap_or(head);
        if kind == Kind::Other && has(head, DICOM) {
            kind = Kind::Dicom;
        }
        let signed = is_signed(kind, head);
        let first = head.get(..SAMPLE_BYTES).unwrap_or(head);
        let scrambled_head = !signed && is_noise(first);
        // What cannot be dense by its name is not excused by two bytes that noise may begin with.
        let dense = match kind {
            Kind::Dense => true,
            // A medical image is dense or not, by its transfer syntax: what is usual for the source decides.
            Kind::Text | Kind::Database | Kind::Dicom => false,
            Kind::Document | Kind::Image | Kind::Other => signed,
        };
        Self {
            kind,
            dense,
            scrambled_head,
            samples: 0,
            noisy: 0,
        }
    }

    /// Looks at more of the file: up to `count` samples, evenly spread over `bytes`.
    pub fn feed(&mut self, bytes: &[u8], count: usize) {
        if count == 0 {
            return;
        }
        let stride = bytes.len().div_ceil(count).max(1);
        for part in bytes.chunks(stride) {
            let sample = part.get(..SAMPLE_BYTES).unwrap_or(part);
            if sample.len() >= NOISE_BYTES_MIN {
                self.samples += 1;
                self.noisy += u32::from(is_noise(sample));
            }
        }
    }

    /// How many of its `size` bytes are noise, by the samples.
    pub fn noise_bytes(&self, size: u64) -> u64 {
        if self.samples == 0 {
            return if self.scrambled_head { size } else { 0 };
        }
        let noise = u128::from(size) * u128::from(self.noisy) / u128::from(self.samples);
        u64::try_from(noise).unwrap_or(size)
    }

    /// Whether noise in it is no wonder: its name or its first bytes say that it is dense.
    pub fn is_dense(&self) -> bool {
        self.dense
    }

    /// Whether its bytes contradict its name: they begin with noise where the name promises a signature or no noise at all,
    /// or much of a text is noise.
    pub fn is_defaced(&self) -> bool {
        match self.kind {
            Kind::Other | Kind::Dense => false,
            Kind::Text => self.scrambled_head || self.noisy * 4 > self.samples,
            Kind::Document | Kind::Image | Kind::Dicom | Kind::Database => self.scrambled_head,
        }
    }

    /// Whether it looks encrypted: noise from its first byte on, and nothing says why.
    pub fn is_scrambled(&self) -> bool {
        self.scrambled_head && !self.dense
    }
}

/// Whether bytes cannot be told from random ones: as few pairs of equal bytes as chance makes, within five standard
/// deviations. Of `n` random bytes, `n(n-1)/512` pairs are equal, with about that variance.
pub fn is_noise(bytes: &[u8]) -> bool {
    if bytes.len() < NOISE_BYTES_MIN {
        return false;
    }
    let mut counts = [0_u32; 256];
    for byte in bytes {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let pairs: u64 = counts
        .iter()
        .map(|count| u64::from(*count) * u64::from(count.saturating_sub(1)) / 2)
        .sum();
    let total = bytes.len() as u64;
    let expected = total * (total - 1) / 512;
    // (pairs - expected)^2 <= 25 expected
    let above = u128::from(pairs.saturating_sub(expected));
    above * above <= 25 * u128::from(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize, seed: u64) -> Vec<u8> {
        let mut state = seed | 1;
        let step = |_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        };
        (0..len).map(step).collect()
    }

    #[test]
    fn names_promise_by_the_last_extension_that_is_known() {
        for (name, kind) in [
            (&b"report.pdf"[..], Kind::Document),
            (b"REPORT.PDF", Kind::Document),
            (b"adt.hl7.locked", Kind::Text),
            (b"a.docx.id-12.[x@y.com].odd", Kind::Document),
            (b"log.1.gz", Kind::Dense),
            (b"messages.log.1", Kind::Text),
            (b".txt", Kind::Other),
            (b"16384", Kind::Other),
            (b"x.averyverylongextension", Kind::Other),
            (b"scan.dcm", Kind::Dicom),
            (b"a.tif", Kind::Image),
            (b"ehr.mdf", Kind::Database),
        ] {
            assert_eq!(kind_of(name), kind);
        }
        assert_eq!(KINDS.map(|kind| KINDS[kind as usize]), KINDS);
    }

    #[test]
    fn noise_is_told_from_text_numbers_and_base64() {
        for len in [256, 500, 1024, 4096] {
            for seed in 0..200 {
                assert!(is_noise(&noise(len, seed)), "{len} bytes of seed {seed}");
            }
        }
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let base64: Vec<u8> = noise(1024, 9)
            .iter()
            .map(|byte| alphabet[usize::from(*byte) % 64])
            .collect();
        assert!(!is_noise(&base64));
        assert!(!is_noise(&base64[..256]));
        let samples: Vec<u8> = noise(1024, 8)
            .chunks(2)
            .flat_map(|pair| [pair[0], pair[1] & 15])
            .collect();
        assert!(!is_noise(&samples), "samples of 12 bits");
        assert!(!is_noise(&noise(255, 1)));
    }

    #[test]
    fn bytes_that_contradict_their_name_are_seen() {
        let scrambled = noise(9000, 3);
        for name in ["a.txt", "a.pdf", "a.jpg", "a.dcm", "a.mdf", "a.hl7.locked"] {
            let mut look = Look::new(name.as_bytes(), &scrambled);
            look.feed(&scrambled, 4);
            assert!(
                look.is_defaced() && look.is_scrambled() && !look.is_dense(),
                "{name}"
            );
            assert_eq!(look.noise_bytes(9000), 9000);
        }
        let mut look = Look::new(b"16384", &scrambled);
        look.feed(&scrambled, 4);
        assert!(look.is_scrambled() && !look.is_defaced());
    }

    #[test]
    fn what_is_dense_by_name_or_signature_is_no_wonder() {
        let scrambled = noise(9000, 4);
        for name in ["a.gpg", "a.zip", "a.bak"] {
            let look = Look::new(name.as_bytes(), &scrambled);
            assert!(
                look.is_dense() && !look.is_defaced() && !look.is_scrambled(),
                "{name}"
            );
        }
        for (name, at, signature) in [
            ("a.pdf", 0, &b"%PDF-1.7"[..]),
            ("a.docx", 0, b"PK\x03\x04"),
            ("a.jpg", 0, b"\xff\xd8\xff\xe0"),
            ("a", 0, b"\x1f\x8b\x08"),
        ] {
            let mut signed = scrambled.clone();
            signed[at..at + signature.len()].copy_from_slice(signature);
            let mut look = Look::new(name.as_bytes(), &signed);
            look.feed(&signed, 4);
            assert!(
                look.is_dense() && !look.is_defaced() && !look.is_scrambled(),
                "{name}"
            );
        }
        let mut image = vec![0; 9000];
        image[128..132].copy_from_slice(b"DICM");
        for name in ["a.dcm", "1.2.840.10008"] {
            image[2000..].copy_from_slice(&scrambled[2000..]);
            let mut look = Look::new(name.as_bytes(), &image);
            look.feed(&image, 9);
            assert_eq!(look.kind, Kind::Dicom);
            assert!(!look.is_dense() && !look.is_defaced() && !look.is_scrambled());
            assert!(
                look.noise_bytes(9000) >= 6000,
                "whether that is usual, others decide"
            );
        }
        // Nobody reads a text that begins like an archive.
        let mut text = Look::new(b"a.csv", b"PK\x03\x04");
        text.feed(&scrambled, 4);
        assert!(text.is_defaced() && !text.is_dense());
    }

    #[test]
    fn part_of_a_file_is_part_of_it() {
        let mut half = b"PID|1|SMITH^JOHN\r".repeat(600);
        let middle = half.len() / 2;
        half.truncate(middle);
        let plain = half.clone();
        half.extend(noise(middle, 5));
        let mut look = Look::new(b"a.hl7", &half);
        look.feed(&half, 4);
        assert_eq!(look.noise_bytes(half.len() as u64), half.len() as u64 / 2);
        assert!(look.is_defaced() && !look.is_scrambled());
        let mut whole = Look::new(b"a.hl7", &plain);
        whole.feed(&plain, 4);
        assert_eq!(whole.noise_bytes(1000), 0);
        assert!(!whole.is_defaced());
        let mut none = Look::new(b"a.txt", b"");
        none.feed(&half, 0);
        assert_eq!((none.noise_bytes(7), none.is_defaced()), (0, false));
        assert_eq!(Look::new(b"a.txt", &noise(300, 1)).noise_bytes(7), 7);
    }
}

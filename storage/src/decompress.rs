//! Compressed files, by name and by their first bytes.

use std::io::{BufReader, Chain, Cursor, Error, ErrorKind, Read};

/// A way of compressing a whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    Gzip,
    Bzip2,
    Zstd,
    Xz,
    Snappy,
    /// zlib's format or bare deflate; only its name tells.
    Deflate,
    /// An archive, whose files are read one by one.
    Zip,
}

/// Bytes that tell a compression.
const MAGIC: &[(&[u8], Compression)] = &[
    (&[0x1f, 0x8b], Compression::Gzip),
    (b"BZh", Compression::Bzip2),
    (&[0x28, 0xb5, 0x2f, 0xfd], Compression::Zstd),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], Compression::Xz),
    (b"\xff\x06\x00\x00sNaPpY", Compression::Snappy),
    (b"PK\x03\x04", Compression::Zip),
    // Without any file.
    (b"PK\x05\x06", Compression::Zip),
];

pub(crate) const MAGIC_BYTES: u64 = 10;

impl Compression {
    /// By the end of a path's or URL's name.
    pub fn of_name(name: &str) -> Option<Self> {
        let name = match name.starts_with("http") {
            true => name.split(['?', '#']).next().unwrap_or_default(),
            false => name,
        };
        let ending = name.rsplit('.').next()?;
        Some(match ending {
            "gz" | "gzip" => Compression::Gzip,
            "bz2" => Compression::Bzip2,
            "zst" | "zstd" => Compression::Zstd,
            "xz" => Compression::Xz,
            "sz" | "snappy" => Compression::Snappy,
            "deflate" => Compression::Deflate,
            "zip" => Compression::Zip,
            _ => return None,
        })
    }

    /// By a file's first bytes.
    pub fn of_bytes(bytes: &[u8]) -> Option<Self> {
        MAGIC
            .iter()
            .find(|(magic, _)| bytes.starts_with(magic))
            .map(|(_, compression)| *compression)
    }
}

/// Room for compressed input.
const BUFFER_BYTES: usize = 1 << 20;

/// What `reader` holds, decompressed when its first bytes say that it is compressed; only deflate is told by `name`.
///
/// # Errors
/// When the first bytes cannot be read, or are those of an archive.
pub fn decompress(mut reader: Box<dyn Read + Send>, name: &str) -> std::io::Result<Box<dyn Read + Send>> {
    let mut first = Vec::new();
    reader.by_ref().take(MAGIC_BYTES).read_to_end(&mut first)?;
    let compression = Compression::of_bytes(&first).or_else(|| {
        let named = Compression::of_name(name);
        named.filter(|named| *named == Compression::Deflate && !first.is_empty())
    });
    let has_zlib_header = is_zlib(&first);
    let whole: Chain<Cursor<Vec<u8>>, Box<dyn Read + Send>> = Cursor::new(first).chain(reader);
    let buffered = BufReader::with_capacity(BUFFER_BYTES, whole);
    Ok(match compression {
        None => Box::new(buffered),
        Some(Compression::Gzip) => Box::new(flate2::bufread::MultiGzDecoder::new(buffered)),
        Some(Compression::Bzip2) => Box::new(bzip2::bufread::MultiBzDecoder::new(buffered)),
        Some(Compression::Zstd) => Box::new(zstd::stream::read::Decoder::with_buffer(buffered)?),
        Some(Compression::Xz) => Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(buffered)),
        Some(Compression::Snappy) => Box::new(snap::read::FrameDecoder::new(buffered)),
        Some(Compression::Deflate) if has_zlib_header => {
            Box::new(flate2::bufread::ZlibDecoder::new(buffered))
        }
        Some(Compression::Deflate) => Box::new(flate2::bufread::DeflateDecoder::new(buffered)),
        Some(Compression::Zip) => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "it is a zip archive, which its name must tell by its ending .zip",
            ));
        }
    })
}

/// Whether the first two bytes are zlib's: deflate, and a check sum over both.
fn is_zlib(first: &[u8]) -> bool {
    match first {
        [method, flags, ..] => {
            method & 0x0f == 8 && (u16::from(*method) * 256 + u16::from(*flags)).is_multiple_of(31)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: Vec<u8>) -> std::io::Result<Vec<u8>> {
        read_named("f.csv", bytes)
    }

    fn read_named(name: &str, bytes: Vec<u8>) -> std::io::Result<Vec<u8>> {
        let mut text = Vec::new();
        decompress(Box::new(Cursor::new(bytes)), name)?.read_to_end(&mut text)?;
        Ok(text)
    }

    #[test]
    fn the_content_tells_the_compression() {
        assert_eq!(read(b"plain".to_vec()).unwrap(), b"plain");
        assert_eq!(read(gzip(b"text")).unwrap(), b"text");
        assert_eq!(
            read(zstd::encode_all(b"text".as_slice(), 1).unwrap()).unwrap(),
            b"text"
        );
        let mut snappy = snap::write::FrameEncoder::new(Vec::new());
        snappy.write_all(b"text").unwrap();
        assert_eq!(read(snappy.into_inner().unwrap()).unwrap(), b"text");
    }

    #[test]
    fn all_members_of_a_gzip_file_are_read() {
        let members = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(read(members).unwrap(), b"one two");
    }

    #[test]
    fn only_the_name_tells_deflate() {
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(b"text").unwrap();
        let zlib = zlib.finish().unwrap();
        let mut bare = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        bare.write_all(b"text").unwrap();
        for bytes in [zlib.clone(), bare.finish().unwrap()] {
            assert_eq!(read_named("f.csv.deflate", bytes).unwrap(), b"text");
        }
        assert_eq!(read(zlib.clone()).unwrap(), zlib);
        assert_eq!(
            Compression::of_name("http://h/a.zip?b=c.gz"),
            Some(Compression::Zip)
        );
    }

    #[test]
    fn a_truncated_gzip_file_is_an_error() {
        let whole = gzip(&[7; 100_000]);
        assert!(read(whole.get(..whole.len() / 2).unwrap().to_vec()).is_err());
    }
}

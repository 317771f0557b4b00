//! Compression of whole files, a piece at a time.

use std::io::Write;

use sarsen_kernel::query::ExportCompression;

/// Takes bytes, gives compressed ones.
pub enum Compressor {
    None(Vec<u8>),
    Gzip(Box<flate2::write::GzEncoder<Vec<u8>>>),
    Zstd(Box<zstd::stream::write::Encoder<'static, Vec<u8>>>),
}

impl Compressor {
    /// # Errors
    /// When a compressor cannot be made.
    pub fn new(compression: ExportCompression) -> std::io::Result<Self> {
        Ok(match compression {
            ExportCompression::None | ExportCompression::Snappy => Compressor::None(Vec::new()),
            ExportCompression::Gzip => Compressor::Gzip(Box::new(flate2::write::GzEncoder::new(
                Vec::new(),
                flate2::Compression::default(),
            ))),
            ExportCompression::Zstd => {
                Compressor::Zstd(Box::new(zstd::stream::write::Encoder::new(Vec::new(), 0)?))
            }
        })
    }

    /// Takes bytes; answers those that came out by now.
    ///
    /// # Errors
    /// Never in practice: memory takes all of them.
    pub fn push(&mut self, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        match self {
            Compressor::None(out) => {
                out.extend_from_slice(bytes);
                Ok(std::mem::take(out))
            }
            Compressor::Gzip(encoder) => {
                encoder.write_all(bytes)?;
                Ok(std::mem::take(encoder.get_mut()))
            }
            Compressor::Zstd(encoder) => {
                encoder.write_all(bytes)?;
                Ok(std::mem::take(encoder.get_mut()))
            }
        }
    }

    /// The last bytes.
    ///
    /// # Errors
    /// As [`Compressor::push`].
    pub fn finish(self) -> std::io::Result<Vec<u8>> {
        match self {
            Compressor::None(out) => Ok(out),
            Compressor::Gzip(encoder) => encoder.finish(),
            Compressor::Zstd(encoder) => encoder.finish(),
        }
    }
}

//! The PROXY protocol, versions 1 and 2: whom a declared proxy speaks for.
//!
//! Read only from peers that the listener declares, and from those it must come, or anyone behind them could speak as
//! the proxy itself. Exactly the header's bytes are taken from the socket and never more than its bounds, so what
//! follows (TLS or HTTP) is untouched. The caller sets the time limit.

use std::{io, net::SocketAddr};

use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declared {
    /// The proxy speaks for this client, which connected to this address.
    Proxied {
        /// The client.
        source: SocketAddr,
        /// The address the client connected to.
        destination: SocketAddr,
    },
    /// The proxy speaks for itself (a health check), or does not know the client.
    Local,
}

/// Why there is no usable header.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// What arrived is no PROXY protocol header, or a broken one.
    #[error("the PROXY protocol header is malformed")]
    Malformed,
    /// The connection broke off.
    #[error("no PROXY protocol header arrived: {0}")]
    Read(#[from] io::Error),
    /// The header is longer than it may be.
    #[error("the PROXY protocol header is too large")]
    TooLarge,
}

/// Reads one header.
pub async fn read_header(io: &mut (impl AsyncRead + Unpin)) -> Result<Declared, HeaderError> {
    // The shortest header of either version is longer than this, so nothing that follows it is taken.
    let mut start = [0; START];
    io.read_exact(&mut start).await?;
    match v2::PROTOCOL_PREFIX.starts_with(&start) {
        true => read_v2(io, start).await,
        false if start.starts_with(V1_PREFIX) => read_v1(io, start).await,
        false => Err(HeaderError::Malformed),
    }
}

async fn read_v1(io: &mut (impl AsyncRead + Unpin), start: [u8; START]) -> Result<Declared, HeaderError> {
    let mut line = start.to_vec();
    // Byte by byte, because the line's length is only known at its end; once per connection, at most 99 times.
    while line.last() != Some(&b'\n') {
        if line.len() == V1_BYTES_MAX {
            return Err(HeaderError::TooLarge);
        }
        line.push(io.read_u8().await?);
    }
    // The parser splits at any carriage return; only the one before the line feed is allowed.
    if line.iter().filter(|byte| **byte == b'\r').count() != 1 || !line.ends_with(b"\r\n") {
        return Err(HeaderError::Malformed);
    }
    match v1::Header::try_from(line.as_slice()).map_err(|_| HeaderError::Malformed)?.addresses {
        v1::Addresses::Unknown => Ok(Declared::Local),
        v1::Addresses::Tcp4(it) => Ok(Declared::Proxied {
            source: (it.source_address, it.source_port).into(),
            destination: (it.destination_address, it.destination_port).into(),
        }),
        v1::Addresses::Tcp6(it) => Ok(Declared::Proxied {
            source: (it.source_address, it.source_port).into(),
            destination: (it.destination_address, it.destination_port).into(),
        }),
    }
}

async fn read_v2(io: &mut (impl AsyncRead + Unpin), start: [u8; START]) -> Result<Declared, HeaderError> {
    let mut header = start.to_vec();
    header.resize(V2_START, 0);
    io.read_exact(header.get_mut(START..).unwrap_or_default()).await?;
    let length = match header.as_slice() {
        [.., high, low] => usize::from(u16::from_be_bytes([*high, *low])),
        _ => return Err(HeaderError::Malformed),
    };
    if length > V2_ADDRESSES_MAX + V2_TLV_BYTES_MAX {
        return Err(HeaderError::TooLarge);
    }
    header.resize(V2_START + length, 0);
    io.read_exact(header.get_mut(V2_START..).unwrap_or_default()).await?;

    let header = v2::Header::try_from(header.as_slice()).map_err(|_| HeaderError::Malformed)?;
    if header.tlv_bytes().len() > V2_TLV_BYTES_MAX {
        return Err(HeaderError::TooLarge);
    }
    // LOCAL: the receiver must use the real endpoints and ignore the address block, whatever it holds.
    if header.command == v2::Command::Local {
        return Ok(Declared::Local);
    }
    if header.tlvs().any(|tlv| tlv.is_err()) {
        return Err(HeaderError::Malformed);
    }
    match (header.protocol, header.addresses) {
        (v2::Protocol::Stream, v2::Addresses::IPv4(it)) => Ok(Declared::Proxied {
            source: (it.source_address, it.source_port).into(),
            destination: (it.destination_address, it.destination_port).into(),
        }),
        (v2::Protocol::Stream, v2::Addresses::IPv6(it)) => Ok(Declared::Proxied {
            source: (it.source_address, it.source_port).into(),
            destination: (it.destination_address, it.destination_port).into(),
        }),
        (_, v2::Addresses::Unspecified) => Ok(Declared::Local),
        // A datagram or a Unix socket cannot be what is behind a TCP connection of HTTP.
        _ => Err(HeaderError::Malformed),
    }
}

/// Read at once: the longest start that no header of either version is shorter than.
const START: usize = 8;

/// Version 2 up to and including its length.
const V2_START: usize = 16;

const V1_PREFIX: &[u8] = b"PROXY ";

/// The specification's longest line, with its line break.
const V1_BYTES_MAX: usize = 107;

/// The largest address block: two Unix socket paths.
const V2_ADDRESSES_MAX: usize = 216;

/// 4 KiB of extensions (`security.md` case 45): proxies send a few hundred bytes.
const V2_TLV_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8]) -> (Result<Declared, HeaderError>, usize) {
        let mut rest = bytes;
        let result = read_header(&mut rest).await;
        (result, rest.len())
    }

    fn four() -> Declared {
        Declared::Proxied {
            source: "192.0.2.1:4711".parse().unwrap(),
            destination: "198.51.100.2:443".parse().unwrap(),
        }
    }

    fn v2_header(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let mut bytes = v2::PROTOCOL_PREFIX.to_vec();
        bytes.extend([command, family]);
        bytes.extend((block.len() as u16).to_be_bytes());
        bytes.extend(block);
        bytes
    }

    const BLOCK: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 0x12, 0x67, 1, 187];

    #[tokio::test]
    async fn a_header_of_either_version_names_the_client_and_leaves_what_follows() {
        let six = Declared::Proxied {
            source: "[2001:db8::1]:4711".parse().unwrap(),
            destination: "[2001:db8::2]:443".parse().unwrap(),
        };
        let tlv: Vec<u8> = [&BLOCK[..], &[0x04, 0, 3, 1, 2, 3]].concat();
        let cases: Vec<(Vec<u8>, Declared)> = vec![
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 4711 443\r\n".to_vec(), four()),
            (b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 443\r\n".to_vec(), six),
            (b"PROXY UNKNOWN\r\n".to_vec(), Declared::Local),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), Declared::Local),
            (v2_header(0x21, 0x11, &BLOCK), four()),
            (v2_header(0x21, 0x11, &tlv), four()),
            (v2_header(0x20, 0x00, &[]), Declared::Local),
            (v2_header(0x20, 0x11, &BLOCK), Declared::Local),
            (v2_header(0x21, 0x00, &[]), Declared::Local),
        ];
        for (mut bytes, expected) in cases {
            bytes.extend(b"GET /");
            let (result, rest) = read(&bytes).await;
            assert_eq!((result.unwrap(), rest), (expected, 5), "{:?}", String::from_utf8_lossy(&bytes));
        }
    }

    #[tokio::test]
    async fn what_is_not_exactly_a_header_is_refused() {
        let long = [&b"PROXY UNKNOWN "[..], &[b'x'; 100], b"\r\n"].concat();
        let big = v2_header(0x21, 0x11, &[0; 12 + 4097]);
        let huge = v2_header(0x21, 0x11, &[0; 60_000]);
        let broken_tlv: Vec<u8> = [&BLOCK[..], &[0x04, 0xff, 0xff, 1]].concat();
        let cases: Vec<Vec<u8>> = vec![
            b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 198.51.100.2 4711 443\n".to_vec(),
            b"PROXY TCP4 192.0.2.1\r198.51.100.2 4711 443\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.999 198.51.100.2 4711 443\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 198.51.100.2 4711 65536\r\n".to_vec(),
            b"PROXY TCP5 192.0.2.1 198.51.100.2 4711 443\r\n".to_vec(),
            b"PROXY\0TCP4 192.0.2.1 198.51.100.2 4711 443\r\n".to_vec(),
            long,
            v2_header(0x31, 0x11, &BLOCK),
            v2_header(0x22, 0x11, &BLOCK),
            v2_header(0x21, 0x12, &BLOCK),
            v2_header(0x21, 0x31, &[0; 216]),
            v2_header(0x21, 0x11, &BLOCK[..11]),
            v2_header(0x21, 0x11, &broken_tlv),
            big,
            huge,
            b"PROXY".to_vec(),
            v2::PROTOCOL_PREFIX.to_vec(),
        ];
        for bytes in cases {
            let (result, _) = read(&bytes).await;
            assert!(result.is_err(), "{:?}", String::from_utf8_lossy(&bytes));
        }
    }
}

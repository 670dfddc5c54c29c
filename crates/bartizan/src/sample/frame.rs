//! WebSocket frames (RFC 6455 §5), read as a server reads them: strictly, and without sockets.
//!
//! [`Reader`] takes bytes as they arrive and gives whole messages; fragments are joined here. Whatever the RFC
//! forbids is a [`Violation`], whose code goes into the closing frame. No extension is negotiated, so every reserved
//! bit is a violation.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// What a client said, fragments joined.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// A text; valid UTF-8.
    Text(Bytes),
    /// Bytes.
    Binary(Bytes),
    /// A ping with its payload, to be answered by a pong with the same.
    Ping(Bytes),
    /// A pong; nobody asked for it, and that is allowed (§5.5.3).
    Pong,
    /// The client closes, with this code where it gave one.
    Close(Option<u16>),
}

/// What the client did that ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Violation {
    /// A text that is not UTF-8 (1007).
    NotUtf8,
    /// Anything else that §5 forbids (1002).
    Protocol,
    /// A message above [`MESSAGE_BYTES_MAX`] (1009).
    TooLarge,
}

impl Violation {
    /// The code of the closing frame, §7.4.1.
    pub(super) fn close_code(self) -> u16 {
        match self {
            Violation::NotUtf8 => 1007,
            Violation::Protocol => 1002,
            Violation::TooLarge => 1009,
        }
    }
}

/// Joins bytes to messages.
#[derive(Debug, Default)]
pub(super) struct Reader {
    unread: BytesMut,
    /// The message whose first fragment came without FIN.
    open: Option<(Kind, BytesMut)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Binary,
}

struct Frame {
    fin: bool,
    opcode: u8,
    payload: BytesMut,
}

impl Reader {
    /// Where the bytes that arrive are put.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.unread
    }

    /// The next whole message, or `None` when more bytes are needed.
    pub(super) fn next(&mut self) -> Result<Option<Message>, Violation> {
        while let Some(frame) = self.frame()? {
            if let Some(message) = self.message(frame)? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// Takes one frame off the buffer, §5.2.
    fn frame(&mut self) -> Result<Option<Frame>, Violation> {
        let mut head = &*self.unread;
        let (Ok(first), Ok(second)) = (head.try_get_u8(), head.try_get_u8()) else { return Ok(None) };
        let (fin, reserved, opcode) = (first & 0x80 != 0, first & 0x70, first & 0x0f);
        let (masked, short) = (second & 0x80 != 0, second & 0x7f);
        let control = opcode & 0x8 != 0;
        // §5.1: a client masks every frame. §5.5: a control frame is whole and carries at most 125 bytes.
        if reserved != 0 || !masked || !matches!(opcode, 0..=2 | 8..=10) || (control && (!fin || short > 125))
        {
            return Err(Violation::Protocol);
        }
        let length = match short {
            126 => match head.try_get_u16() {
                // §5.2: the shortest form of the length must be used.
                Ok(0..=125) => return Err(Violation::Protocol),
                Ok(length) => u64::from(length),
                Err(_) => return Ok(None),
            },
            127 => match head.try_get_u64() {
                Ok(0..=0xffff) => return Err(Violation::Protocol),
                Ok(length) => length,
                Err(_) => return Ok(None),
            },
            short => u64::from(short),
        };
        let joined = self.open.as_ref().map_or(0, |(_, so_far)| so_far.len());
        let Some(length) = usize::try_from(length).ok().filter(|length| length + joined <= MESSAGE_BYTES_MAX)
        else {
            return Err(Violation::TooLarge);
        };
        let Ok(mask) = head.try_get_u32() else { return Ok(None) };
        if head.remaining() < length {
            return Ok(None);
        }
        self.unread.advance(self.unread.len() - head.len());
        let mut payload = self.unread.split_to(length);
        for (byte, key) in payload.iter_mut().zip(mask.to_be_bytes().iter().cycle()) {
            *byte ^= key;
        }
        Ok(Some(Frame { fin, opcode, payload }))
    }

    /// What a frame means after those before it, §5.4; `None` while a message is incomplete.
    fn message(&mut self, Frame { fin, opcode, payload }: Frame) -> Result<Option<Message>, Violation> {
        let (kind, payload) = match (opcode, self.open.take()) {
            (8..=10, open) => {
                self.open = open;
                return control(opcode, payload).map(Some);
            }
            (1, None) => (Kind::Text, payload),
            (2, None) => (Kind::Binary, payload),
            (0, Some((kind, mut so_far))) => {
                so_far.unsplit(payload);
                (kind, so_far)
            }
            // A continuation of nothing, or a new message inside an open one.
            _ => return Err(Violation::Protocol),
        };
        if !fin {
            self.open = Some((kind, payload));
            return Ok(None);
        }
        match kind {
            Kind::Text if std::str::from_utf8(&payload).is_err() => Err(Violation::NotUtf8),
            Kind::Text => Ok(Some(Message::Text(payload.freeze()))),
            Kind::Binary => Ok(Some(Message::Binary(payload.freeze()))),
        }
    }
}

fn control(opcode: u8, payload: BytesMut) -> Result<Message, Violation> {
    match opcode {
        9 => Ok(Message::Ping(payload.freeze())),
        10 => Ok(Message::Pong),
        _ => {
            let mut payload = payload.freeze();
            if payload.is_empty() {
                return Ok(Message::Close(None));
            }
            // §5.5.1: two bytes of code, then a reason in UTF-8. §7.4: which codes may be sent.
            let code = payload.try_get_u16().map_err(|_| Violation::Protocol)?;
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return Err(Violation::Protocol);
            }
            std::str::from_utf8(&payload).map_err(|_| Violation::NotUtf8)?;
            Ok(Message::Close(Some(code)))
        }
    }
}

/// Writes one whole, unmasked frame, as a server sends it (§5.1).
pub(super) fn write(opcode: u8, payload: &[u8], out: &mut BytesMut) {
    out.put_u8(0x80 | opcode);
    // Each conversion fits by the range it stands in.
    match payload.len() {
        length @ 0..=125 => out.put_u8(u8::try_from(length).unwrap_or(125)),
        length @ 126..=0xffff => {
            out.put_u8(126);
            out.put_u16(u16::try_from(length).unwrap_or(u16::MAX));
        }
        length => {
            out.put_u8(127);
            out.put_u64(length as u64);
        }
    }
    out.put_slice(payload);
}

/// Opcodes of §5.2 that the echo sends.
pub(super) const TEXT: u8 = 1;
/// See [`TEXT`].
pub(super) const BINARY: u8 = 2;
/// See [`TEXT`].
pub(super) const CLOSE: u8 = 8;
/// See [`TEXT`].
pub(super) const PONG: u8 = 10;

/// 1 MiB for a whole message, as for a request's body.
pub(super) const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// A masked client frame with the shortest length.
    fn client(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = BytesMut::new();
        write(first & 0x0f, payload, &mut frame);
        frame[0] = first;
        frame[1] |= 0x80;
        let at = frame.len() - payload.len();
        let mask = [7_u8, 11, 13, 17];
        let mut out = frame[..at].to_vec();
        out.extend(mask);
        out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
        out
    }

    fn read(bytes: &[u8]) -> Result<Vec<Message>, Violation> {
        let mut reader = Reader::default();
        reader.buffer().extend_from_slice(bytes);
        let mut all = Vec::new();
        while let Some(message) = reader.next()? {
            all.push(message);
        }
        Ok(all)
    }

    #[test]
    fn messages_arrive_whole_however_the_bytes_are_cut() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![b'x'; length];
            let frame = client(0x82, &payload);
            let mut reader = Reader::default();
            let (head, tail) = frame.split_at(frame.len().min(9));
            for byte in head {
                assert_eq!(reader.next(), Ok(None));
                reader.buffer().put_u8(*byte);
            }
            reader.buffer().extend_from_slice(tail);
            assert_eq!(reader.next(), Ok(Some(Message::Binary(payload.into()))), "{length}");
            assert_eq!(reader.next(), Ok(None));
        }
    }

    #[test]
    fn fragments_are_joined_and_a_ping_may_stand_between_them() {
        let bytes =
            [client(0x01, "grü".as_bytes()), client(0x89, b"?"), client(0x80, "ße".as_bytes())].concat();
        let text = Message::Text(Bytes::from("grüße"));
        assert_eq!(read(&bytes), Ok(vec![Message::Ping(Bytes::from_static(b"?")), text]));
    }

    #[test]
    fn a_character_split_between_fragments_is_valid() {
        let bytes = [client(0x01, &[0xc3]), client(0x80, &[0xbc])].concat();
        assert_eq!(read(&bytes), Ok(vec![Message::Text(Bytes::from("ü"))]));
    }

    #[test]
    fn what_the_rfc_forbids_ends_the_connection_with_its_code() {
        let mut unmasked = BytesMut::new();
        write(TEXT, b"hi", &mut unmasked);
        let too_large =
            [&[0x82_u8, 0xff][..], &(MESSAGE_BYTES_MAX as u64 + 1).to_be_bytes(), &[0; 4]].concat();
        let half = vec![0_u8; MESSAGE_BYTES_MAX];
        let cases: [(&str, Vec<u8>, u16); 16] = [
            ("unmasked", unmasked.to_vec(), 1002),
            ("reserved bit", client(0xc1, b""), 1002),
            ("unknown opcode", client(0x83, b""), 1002),
            ("unknown control opcode", client(0x8b, b""), 1002),
            ("fragmented ping", client(0x09, b""), 1002),
            ("long ping", client(0x89, &[0; 126]), 1002),
            ("length not shortest, 16 bits", vec![0x82, 0xfe, 0, 125], 1002),
            ("length not shortest, 64 bits", vec![0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], 1002),
            ("continuation of nothing", client(0x80, b"x"), 1002),
            ("message inside a message", [client(0x01, b"a"), client(0x81, b"b")].concat(), 1002),
            ("close of one byte", client(0x88, &[3]), 1002),
            ("close code that may not be sent", client(0x88, &1005_u16.to_be_bytes()), 1002),
            ("close reason that is not UTF-8", client(0x88, &[3, 0xe8, 0xff]), 1007),
            ("text that is not UTF-8", client(0x81, &[0xff]), 1007),
            ("message too large", too_large, 1009),
            ("fragments too large", [client(0x02, &half), client(0x80, b"x")].concat(), 1009),
        ];
        for (name, bytes, code) in cases {
            assert_eq!(read(&bytes).map_err(Violation::close_code), Err(code), "{name}");
        }
    }

    #[test]
    fn a_close_may_carry_a_code_and_a_reason() {
        assert_eq!(read(&client(0x88, b"")), Ok(vec![Message::Close(None)]));
        let payload = [&1000_u16.to_be_bytes()[..], b"bye"].concat();
        assert_eq!(read(&client(0x88, &payload)), Ok(vec![Message::Close(Some(1000))]));
    }
}

//! Feeding an exchange: heads and bodies become the variables of the rule language.

use super::{Incomplete, RequestHead, ResponseHead, Session};
use crate::{
    body::{self, MultipartFlags, Processor, Reading},
    rule::{Phase, Variable},
    ruleset::OnLimit,
    transform::Transform,
};

/// 100,000 values: a long conversation with the descriptions of its tools has some thousands, and no rule sees them.
const PROSE_VALUES_MAX: usize = 100_000;

impl Session {
    /// Feeds the head of the request; judge with [`Session::step`] then (phase 1).
    pub fn request_head(&mut self, head: &RequestHead<'_>) {
        self.connection();
        self.request_line(head);
        let max = self.rules.settings().arguments_max;
        let mut cookies = Vec::new();
        let mut complete = true;
        for (name, value) in head.headers {
            self.named(Variable::RequestHeaders, Variable::RequestHeadersNames, name, value);
            if name.eq_ignore_ascii_case(b"cookie") {
                complete &= body::cookies(value, max, &mut cookies);
            } else if name.eq_ignore_ascii_case(b"content-type") {
                self.content_type = value.to_vec();
            } else if name.eq_ignore_ascii_case(b"authorization") {
                let scheme = value.split(|byte| *byte == b' ').next().unwrap_or_default();
                self.facts.scalar(Variable::AuthType, scheme);
            }
        }
        for (name, value) in &cookies {
            self.named(Variable::RequestCookies, Variable::RequestCookiesNames, name, value);
        }
        self.processor = Processor::for_content_type(&self.content_type);
        self.processor_word();
        if !complete {
            self.incomplete(Incomplete::Values);
        }
        self.pending = Some(Phase::RequestHeaders);
    }

    fn connection(&mut self) {
        let address = |address: Option<std::net::IpAddr>| {
            address.map(|address| address.to_canonical().to_string()).unwrap_or_default()
        };
        let (client, server) = (self.exchange.client, self.exchange.server);
        let (client_port, server_port) = (self.exchange.client_port, self.exchange.server_port);
        self.scalar_of(Variable::RemoteAddr, || address(client));
        self.scalar_of(Variable::RemoteHost, || address(client));
        self.scalar_of(Variable::RemotePort, || client_port.to_string());
        self.scalar_of(Variable::ServerAddr, || address(server));
        self.scalar_of(Variable::ServerPort, || server_port.to_string());
        let id = std::mem::take(&mut self.exchange.id);
        self.scalar(Variable::UniqueId, id.as_bytes());
        self.exchange.id = id;
        self.scalar(Variable::WebAppId, b"default");
        self.scalar(Variable::InboundDataError, b"0");
        self.scalar(Variable::OutboundDataError, b"0");
        self.scalar(Variable::ReqbodyError, b"0");
        self.scalar(Variable::ReqbodyProcessorError, b"0");
    }

    fn request_line(&mut self, head: &RequestHead<'_>) {
        let target = head.target;
        let local = without_authority(target);
        let at = memchr::memchr(b'?', local).unwrap_or(local.len());
        let (path, query) = local.split_at(at);
        let query = query.get(1..).unwrap_or_default();
        let line = [head.method, target, head.protocol].join(&b' ');
        self.scalar(Variable::RequestLine, &line);
        self.scalar(Variable::RequestMethod, head.method);
        self.scalar(Variable::RequestProtocol, head.protocol);
        let raw = self.facts.keep(target);
        self.facts.add(Variable::RequestUriRaw, b"", raw);
        let same = if local == target { raw } else { self.facts.keep(local) };
        self.facts.add(Variable::RequestUri, b"", same);
        // The path as a server would look it up: percent signs decoded once. REQUEST_URI stays as it was sent.
        let path = &percent_decoded(path);
        self.scalar(Variable::RequestFilename, path);
        let name = path.iter().rposition(|byte| matches!(byte, b'/' | b'\\')).map_or(0, |at| at + 1);
        self.scalar(Variable::RequestBasename, path.get(name..).unwrap_or_default());
        self.scalar(Variable::PathInfo, b"");
        self.scalar(Variable::QueryString, query);
        if crate::transform::has_broken_escape(query) {
            self.scalar(Variable::UrlencodedError, b"1");
        }
        let mut arguments = Vec::new();
        if !body::arguments(query, self.rules.settings().arguments_max, &mut arguments) {
            self.incomplete(Incomplete::Values);
        }
        self.arguments(&arguments, (Variable::ArgsGet, Variable::ArgsGetNames));
        let host = head.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(b"host"));
        let host = host.map_or(&b""[..], |(_, value)| value);
        let end =
            memchr::memrchr(b':', host).filter(|at| !host.get(*at..).unwrap_or_default().contains(&b']'));
        self.scalar(Variable::ServerName, host.get(..end.unwrap_or(host.len())).unwrap_or_default());
    }

    /// Whether the rules look at the request body.
    #[must_use]
    pub fn wants_request_body(&self) -> bool {
        self.request_body_access && self.runs(Phase::RequestBody)
    }

    /// Whether some reader takes the request body apart; without one, rules see nothing of it. Asked after phase 1,
    /// which may choose a reader.
    #[must_use]
    pub fn reads_request_body(&self) -> bool {
        self.wants_request_body() && (self.processor.is_some() || self.force_body)
    }

    /// The body is prose for a model: rules about attacks say nothing about it (`security.md` G), so it is read as strictly
    /// as any other, and its values are shown to no rule. Asked for before the body is fed.
    pub fn body_is_prose(&mut self) {
        self.is_prose = true;
    }

    /// What was fed is the start of a longer body: that it breaks off says nothing about it.
    pub fn body_is_cut(&mut self) {
        self.body_cut = true;
        self.verdict.body_cut = true;
    }

    /// Feeds a piece of the request body. False when the body is longer than its limit: nothing more need be fed.
    pub fn request_body(&mut self, piece: &[u8]) -> bool {
        if !self.request_body_access {
            return true;
        }
        let settings = self.rules.settings();
        let max = if self.processor == Some(Processor::Multipart) {
            settings.request_body_bytes_max
        } else {
            settings.request_body_bytes_max.min(settings.request_body_no_files_bytes_max)
        };
        let on_limit = settings.on_request_limit;
        self.take(piece, max, on_limit, Variable::InboundDataError)
    }

    fn take(&mut self, piece: &[u8], max: usize, on_limit: OnLimit, error: Variable) -> bool {
        let room = max.saturating_sub(self.body.len());
        self.body.extend_from_slice(piece.get(..room).unwrap_or(piece));
        if piece.len() <= room {
            return true;
        }
        self.facts.replace(error, b"1");
        match on_limit {
            OnLimit::Reject => self.incomplete(Incomplete::BodyTooLong),
            OnLimit::ReadStart => {
                self.body_cut = true;
                self.verdict.body_cut = true;
            }
        }
        false
    }

    /// The request is complete; judge with [`Session::step`] then (phase 2).
    pub fn request_end(&mut self) {
        let body = std::mem::take(&mut self.body);
        let cut = std::mem::take(&mut self.body_cut);
        let mut limits = self.rules.settings().body_limits();
        if self.is_prose {
            limits.values_max = PROSE_VALUES_MAX;
        }
        let mut reading = match self.processor {
            Some(processor) if !body.is_empty() && self.request_body_access => {
                body::read(processor, &self.content_type, &body, &limits)
            }
            _ => Reading::default(),
        };
        if let Some(error) = reading.error {
            self.facts.replace(Variable::ReqbodyError, b"1");
            self.facts.replace(Variable::ReqbodyProcessorError, b"1");
            self.scalar(Variable::ReqbodyErrorMsg, error.as_bytes());
            self.scalar(Variable::ReqbodyProcessorErrorMsg, error.as_bytes());
            // A body whose end was cut off by the settings cannot be expected to be whole.
            if !cut {
                self.incomplete(Incomplete::BodyUnreadable(error));
            }
        }
        if self.is_prose {
            reading = Reading { multipart: reading.multipart, error: reading.error, ..Reading::default() };
        }
        let raw = self.force_body
            || matches!(self.processor, Some(Processor::UrlEncoded) | None)
            || reading.error.is_some();
        let has_reader = self.processor.is_some() || self.force_body;
        if raw && has_reader && self.request_body_access && !self.is_prose {
            self.scalar(Variable::RequestBody, &body);
        }
        self.scalar(Variable::RequestBodyLength, body.len().to_string().as_bytes());
        self.scalar(Variable::FullRequestLength, body.len().to_string().as_bytes());
        self.reading(&reading);
        self.pending = Some(Phase::RequestBody);
    }

    fn reading(&mut self, reading: &Reading) {
        self.arguments(&reading.arguments, (Variable::ArgsPost, Variable::ArgsPostNames));
        for name in &reading.names {
            self.value(Variable::ArgsNames, name, name);
            self.value(Variable::ArgsPostNames, name, name);
        }
        for file in &reading.files {
            self.value(Variable::Files, &file.field, &file.file_name);
            self.value(Variable::FilesNames, &file.field, &file.field);
            self.value(Variable::FilesSizes, &file.field, file.size.to_string().as_bytes());
            self.value(Variable::MultipartFilename, &file.field, &file.file_name);
            self.value(Variable::MultipartName, &file.field, &file.field);
        }
        for (name, line) in &reading.part_headers {
            self.value(Variable::MultipartPartHeaders, name, line);
        }
        for text in &reading.xml_texts {
            self.value(Variable::Xml, b"/*", text);
        }
        for text in &reading.xml_attributes {
            self.value(Variable::Xml, b"//@*", text);
        }
        if self.rules.uses(Variable::ArgsCombinedSize) {
            let names = self.facts.values(Variable::Args).iter();
            let size: usize =
                names.map(|value| self.facts.name(*value).len() + self.facts.text(value.content).len()).sum();
            self.scalar(Variable::ArgsCombinedSize, size.to_string().as_bytes());
        }
        let size: usize = reading.files.iter().map(|file| file.size).sum();
        self.scalar(Variable::FilesCombinedSize, size.to_string().as_bytes());
        self.multipart_flags(&reading.multipart);
    }

    fn multipart_flags(&mut self, flags: &MultipartFlags) {
        for (variable, set) in [
            (Variable::MultipartBoundaryQuoted, flags.boundary_quoted),
            (Variable::MultipartBoundaryWhitespace, flags.boundary_whitespace),
            (Variable::MultipartCrlfLfLines, flags.crlf_lf_lines),
            (Variable::MultipartDataAfter, flags.data_after),
            (Variable::MultipartDataBefore, flags.data_before),
            (Variable::MultipartFileLimitExceeded, flags.file_limit_exceeded),
            (Variable::MultipartHeaderFolding, flags.header_folding),
            (Variable::MultipartInvalidHeaderFolding, flags.invalid_header_folding),
            (Variable::MultipartInvalidPart, flags.invalid_part),
            (Variable::MultipartInvalidQuoting, flags.invalid_quoting),
            (Variable::MultipartLfLine, flags.lf_line),
            (Variable::MultipartMissingSemicolon, flags.missing_semicolon),
            (Variable::MultipartStrictError, flags.strict_error()),
            (Variable::MultipartUnmatchedBoundary, flags.unmatched_boundary),
        ] {
            self.scalar(variable, if set { b"1" } else { b"0" });
        }
    }

    /// Feeds the head of the response; judge with [`Session::step`] then (phase 3).
    pub fn response_head(&mut self, head: &ResponseHead<'_>) {
        self.body.clear();
        let status = head.status.to_string();
        self.scalar(Variable::ResponseStatus, status.as_bytes());
        self.scalar(Variable::ResponseProtocol, head.protocol);
        let line = [head.protocol, status.as_bytes()].join(&b' ');
        self.scalar(Variable::StatusLine, &line);
        for (name, value) in head.headers {
            self.named(Variable::ResponseHeaders, Variable::ResponseHeadersNames, name, value);
            if name.eq_ignore_ascii_case(b"content-type") {
                let kind = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
                let read = &self.rules.settings().response_types;
                self.response_type_read = read.iter().any(|read| read.as_bytes().eq_ignore_ascii_case(kind));
                self.scalar(Variable::ResponseContentType, value);
            } else if name.eq_ignore_ascii_case(b"content-length") {
                self.scalar(Variable::ResponseContentLength, value);
            }
        }
        self.pending = Some(Phase::ResponseHeaders);
    }

    /// Whether the rules look at the response body.
    #[must_use]
    pub fn wants_response_body(&self) -> bool {
        self.response_body_access
            && self.response_type_read
            && self.rules.has_phase(Phase::ResponseBody)
            && self.runs(Phase::ResponseBody)
    }

    /// Feeds a piece of the response body. False when the body is longer than its limit.
    pub fn response_body(&mut self, piece: &[u8]) -> bool {
        if !self.wants_response_body() {
            return true;
        }
        let settings = self.rules.settings();
        let (max, on_limit) = (settings.response_body_bytes_max, settings.on_response_limit);
        self.take(piece, max, on_limit, Variable::OutboundDataError)
    }

    /// The response is complete; judge with [`Session::step`] then (phase 4).
    pub fn response_end(&mut self) {
        let body = std::mem::take(&mut self.body);
        if self.wants_response_body() {
            self.scalar(Variable::ResponseBody, &body);
        }
        self.pending = Some(Phase::ResponseBody);
    }

    /// The exchange is over; judge with [`Session::step`] then (phase 5, which decides nothing).
    pub fn end(&mut self) {
        self.pending = Some(Phase::Logging);
    }

    pub(super) fn processor_word(&mut self) {
        let word = self.processor.map_or("", Processor::word);
        self.facts.replace(Variable::ReqbodyProcessor, word.as_bytes());
    }

    fn arguments(&mut self, arguments: &[(Vec<u8>, Vec<u8>)], (half, half_names): (Variable, Variable)) {
        let wanted = [Variable::Args, half, Variable::ArgsNames, half_names]
            .map(|variable| variable == Variable::Args || self.rules.uses(variable));
        for (name, value) in arguments {
            let value = self.facts.keep(value);
            let own_name = self.facts.keep(name);
            let added = [
                (Variable::Args, value),
                (half, value),
                (Variable::ArgsNames, own_name),
                (half_names, own_name),
            ];
            for ((variable, content), _) in added.into_iter().zip(wanted).filter(|(_, wanted)| *wanted) {
                self.facts.add_of(variable, own_name, content);
            }
        }
    }

    fn named(&mut self, values: Variable, names: Variable, name: &[u8], value: &[u8]) {
        self.value(values, name, value);
        if self.rules.uses(names) {
            self.value(names, name, name);
        }
    }

    fn value(&mut self, variable: Variable, name: &[u8], value: &[u8]) {
        if !self.rules.uses(variable) {
            return;
        }
        let content = self.facts.keep(value);
        self.facts.add(variable, name, content);
    }

    /// A scalar that is written out only where some rule names it.
    fn scalar_of(&mut self, variable: Variable, text: impl FnOnce() -> String) {
        if self.rules.uses(variable) {
            self.facts.scalar(variable, text().as_bytes());
        }
    }

    fn scalar(&mut self, variable: Variable, text: &[u8]) {
        if !self.rules.uses(variable) {
            return;
        }
        self.facts.scalar(variable, text);
    }
}

/// RFC 9112 §3.2.2: the path and query of a target in absolute form.
fn without_authority(target: &[u8]) -> &[u8] {
    let lower = target.get(..8).unwrap_or(target).to_ascii_lowercase();
    let length = if lower.starts_with(b"http://") {
        7
    } else if lower.starts_with(b"https://") {
        8
    } else {
        return target;
    };
    let behind = target.get(length..).unwrap_or_default();
    let end = behind.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(behind.len());
    match behind.get(end..) {
        None | Some(b"") => b"/",
        Some(rest) => rest,
    }
}

/// Percent signs decoded; a plus sign in a path is a plus sign.
fn percent_decoded(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let decoded: Vec<Vec<u8>> = path
        .split(|byte| *byte == b'+')
        .map(|part| if Transform::UrlDecode.apply(part, &mut out) { out.clone() } else { part.to_vec() })
        .collect();
    decoded.join(&b'+')
}

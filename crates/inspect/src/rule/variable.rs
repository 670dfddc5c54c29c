//! The variables a rule can look at. A scalar has at most one value, a collection has named values; which names are
//! compared without case is a property of the collection (`security.md` A1b, "Names").

macro_rules! variables {
    ($($name:literal $variant:ident $shape:ident,)*) => {
        /// A variable of the rule language.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Variable {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        impl Variable {
            /// Every variable, in declaration order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The word of the rule language.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The shape of what it holds.
            #[must_use]
            pub fn shape(self) -> Shape {
                match self { $(Self::$variant => Shape::$shape,)* }
            }
        }
    };
}

/// What a variable holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// At most one value without a name.
    Scalar,
    /// Named values; names are compared exactly.
    Exact,
    /// Named values; names are compared without regard to ASCII case.
    Folded,
}

variables! {
    "ARGS" Args Exact,
    "ARGS_COMBINED_SIZE" ArgsCombinedSize Scalar,
    "ARGS_GET" ArgsGet Exact,
    "ARGS_GET_NAMES" ArgsGetNames Exact,
    "ARGS_NAMES" ArgsNames Exact,
    "ARGS_POST" ArgsPost Exact,
    "ARGS_POST_NAMES" ArgsPostNames Exact,
    "AUTH_TYPE" AuthType Scalar,
    "DURATION" Duration Scalar,
    "FILES" Files Folded,
    "FILES_COMBINED_SIZE" FilesCombinedSize Scalar,
    "FILES_NAMES" FilesNames Folded,
    "FILES_SIZES" FilesSizes Folded,
    "FULL_REQUEST_LENGTH" FullRequestLength Scalar,
    "GEO" Geo Folded,
    "GLOBAL" Global Folded,
    "HIGHEST_SEVERITY" HighestSeverity Scalar,
    "INBOUND_DATA_ERROR" InboundDataError Scalar,
    "IP" Ip Folded,
    "MATCHED_VAR" MatchedVar Scalar,
    "MATCHED_VARS" MatchedVars Folded,
    "MATCHED_VARS_NAMES" MatchedVarsNames Folded,
    "MATCHED_VAR_NAME" MatchedVarName Scalar,
    "MULTIPART_BOUNDARY_QUOTED" MultipartBoundaryQuoted Scalar,
    "MULTIPART_BOUNDARY_WHITESPACE" MultipartBoundaryWhitespace Scalar,
    "MULTIPART_CRLF_LF_LINES" MultipartCrlfLfLines Scalar,
    "MULTIPART_DATA_AFTER" MultipartDataAfter Scalar,
    "MULTIPART_DATA_BEFORE" MultipartDataBefore Scalar,
    "MULTIPART_FILE_LIMIT_EXCEEDED" MultipartFileLimitExceeded Scalar,
    "MULTIPART_FILENAME" MultipartFilename Folded,
    "MULTIPART_HEADER_FOLDING" MultipartHeaderFolding Scalar,
    "MULTIPART_INVALID_HEADER_FOLDING" MultipartInvalidHeaderFolding Scalar,
    "MULTIPART_INVALID_PART" MultipartInvalidPart Scalar,
    "MULTIPART_INVALID_QUOTING" MultipartInvalidQuoting Scalar,
    "MULTIPART_LF_LINE" MultipartLfLine Scalar,
    "MULTIPART_MISSING_SEMICOLON" MultipartMissingSemicolon Scalar,
    "MULTIPART_NAME" MultipartName Folded,
    "MULTIPART_PART_HEADERS" MultipartPartHeaders Folded,
    "MULTIPART_STRICT_ERROR" MultipartStrictError Scalar,
    "MULTIPART_UNMATCHED_BOUNDARY" MultipartUnmatchedBoundary Scalar,
    "OUTBOUND_DATA_ERROR" OutboundDataError Scalar,
    "PATH_INFO" PathInfo Scalar,
    "QUERY_STRING" QueryString Scalar,
    "REMOTE_ADDR" RemoteAddr Scalar,
    "REMOTE_HOST" RemoteHost Scalar,
    "REMOTE_PORT" RemotePort Scalar,
    "REQBODY_ERROR" ReqbodyError Scalar,
    "REQBODY_ERROR_MSG" ReqbodyErrorMsg Scalar,
    "REQBODY_PROCESSOR" ReqbodyProcessor Scalar,
    "REQBODY_PROCESSOR_ERROR" ReqbodyProcessorError Scalar,
    "REQBODY_PROCESSOR_ERROR_MSG" ReqbodyProcessorErrorMsg Scalar,
    "REQUEST_BASENAME" RequestBasename Scalar,
    "REQUEST_BODY" RequestBody Scalar,
    "REQUEST_BODY_LENGTH" RequestBodyLength Scalar,
    "REQUEST_COOKIES" RequestCookies Folded,
    "REQUEST_COOKIES_NAMES" RequestCookiesNames Folded,
    "REQUEST_FILENAME" RequestFilename Scalar,
    "REQUEST_HEADERS" RequestHeaders Folded,
    "REQUEST_HEADERS_NAMES" RequestHeadersNames Folded,
    "REQUEST_LINE" RequestLine Scalar,
    "REQUEST_METHOD" RequestMethod Scalar,
    "REQUEST_PROTOCOL" RequestProtocol Scalar,
    "REQUEST_URI" RequestUri Scalar,
    "REQUEST_URI_RAW" RequestUriRaw Scalar,
    "RESOURCE" Resource Folded,
    "RESPONSE_BODY" ResponseBody Scalar,
    "RESPONSE_CONTENT_LENGTH" ResponseContentLength Scalar,
    "RESPONSE_CONTENT_TYPE" ResponseContentType Scalar,
    "RESPONSE_HEADERS" ResponseHeaders Folded,
    "RESPONSE_HEADERS_NAMES" ResponseHeadersNames Folded,
    "RESPONSE_PROTOCOL" ResponseProtocol Scalar,
    "RESPONSE_STATUS" ResponseStatus Scalar,
    "SERVER_ADDR" ServerAddr Scalar,
    "SERVER_NAME" ServerName Scalar,
    "SERVER_PORT" ServerPort Scalar,
    "SESSION" Session Folded,
    "STATUS_LINE" StatusLine Scalar,
    "TX" Tx Folded,
    "UNIQUE_ID" UniqueId Scalar,
    "URLENCODED_ERROR" UrlencodedError Scalar,
    "USER" User Folded,
    "WEBAPPID" WebAppId Scalar,
    "XML" Xml Folded,
}

impl Variable {
    /// How many variables there are.
    pub(crate) const COUNT: usize = Self::ALL.len();

    /// Finds the variable by its word, without regard to case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        // Deprecated spellings that rule sets in use still contain.
        if name.eq_ignore_ascii_case("RESPONSE_STATUS_LINE") {
            return Some(Self::StatusLine);
        }
        Self::ALL.iter().copied().find(|variable| variable.name().eq_ignore_ascii_case(name))
    }

    /// Its number, for tables.
    pub(crate) fn index(self) -> usize {
        usize::from(self as u8)
    }

    /// Whether rules change it while they run, so that nothing about it may be remembered.
    pub(crate) fn changes(self) -> bool {
        matches!(
            self,
            Self::Tx
                | Self::Ip
                | Self::Global
                | Self::Resource
                | Self::Session
                | Self::User
                | Self::MatchedVar
                | Self::MatchedVarName
                | Self::MatchedVars
                | Self::MatchedVarsNames
                | Self::HighestSeverity
                | Self::Duration
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_is_found_by_its_word_in_any_case() {
        for variable in Variable::ALL {
            assert_eq!(Variable::from_name(variable.name()), Some(*variable));
            assert_eq!(Variable::from_name(&variable.name().to_lowercase()), Some(*variable));
        }
        assert_eq!(Variable::from_name("ARGZ"), None);
    }
}

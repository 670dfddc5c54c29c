//! The page for people: plain HTML, one style sheet and ES modules, in the binary.
//!
//! There is no build chain: what is served is what lies in `page/`. It is a client of the API like any other and knows
//! nothing by itself, so it is given to anybody. Its policy lets in no script but its own files, nothing from elsewhere, no
//! frame around it, and no text that becomes HTML (`require-trusted-types-for`). A section is a file and a line in
//! `page/app.js`.

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION},
};
use http_body_util::Full;

use crate::answer;

/// Answers a request for the page; `None` where it is for something else. The name it was called by was judged before.
pub fn answer<B>(request: &Request<B>) -> Option<Response<Full<Bytes>>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    let path = request.uri().path();
    if matches!(path, "/" | "/console") {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::SEE_OTHER;
        response.headers_mut().insert(LOCATION, HeaderValue::from_static("/console/"));
        answer::harden(response.headers_mut());
        return Some(response);
    }
    let name = path.strip_prefix("/console/")?;
    let name = if name.is_empty() { "index.html" } else { name };
    let (_, text) = FILES.iter().find(|(file, _)| *file == name)?;
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    answer::harden(response.headers_mut());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type(name)));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    );
    headers.insert(
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    );
    Some(response)
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/html; charset=utf-8",
    }
}

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

macro_rules! files {
    ($($name:literal),+ $(,)?) => { &[$(($name, include_str!(concat!("page/", $name)))),+] };
}

/// Every file, by its name below `/console/`.
const FILES: &[(&str, &str)] = files![
    "index.html",
    "style.css",
    "icon.svg",
    "app.js",
    "api.js",
    "dom.js",
    "signin.js",
    "overview.js",
    "routes.js",
    "refusals.js",
    "revisions.js",
    "keys.js",
    "models.js",
    "people.js",
    "trail.js",
];

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn ask(method: &str, path: &str) -> Option<Response<Full<Bytes>>> {
        answer(&Request::builder().method(method).uri(path).body(()).unwrap())
    }

    #[test]
    fn its_files_are_served_by_a_strict_policy_and_nothing_else_is() {
        for (name, _) in FILES {
            let response = ask("GET", &format!("/console/{name}")).unwrap();
            assert_eq!(response.status(), 200);
            let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{name}");
            assert_eq!(response.headers()["cache-control"], "no-store");
        }
        assert_eq!(ask("GET", "/").unwrap().headers()[LOCATION], "/console/");
        for (method, path) in
            [("POST", "/console/"), ("GET", "/console/../x"), ("GET", "/console/x.js"), ("GET", "/metrics")]
        {
            assert!(ask(method, path).is_none(), "{method} {path}");
        }
    }

    #[test]
    fn it_needs_no_inline_script_and_nothing_from_elsewhere() {
        for (name, text) in FILES {
            for forbidden in [
                "innerHTML",
                "eval(",
                "document.write",
                " style=",
                " onclick=",
                "src=\"http",
                "href=\"http",
                "from 'http",
                "url(",
                "@import",
            ] {
                assert!(!text.contains(forbidden), "{name}: {forbidden}");
            }
        }
    }

    #[test]
    fn every_file_that_one_names_is_there() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for (name, text) in FILES.iter().filter(|(name, _)| name.ends_with(".js")) {
            for part in text.split("from './").skip(1) {
                let wanted = part.split('\'').next().unwrap();
                let body =
                    ask("GET", &format!("/console/{wanted}")).unwrap_or_else(|| panic!("{name}: {wanted}"));
                assert!(!runtime.block_on(body.into_body().collect()).unwrap().to_bytes().is_empty());
            }
        }
    }
}

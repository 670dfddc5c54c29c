//! The way to a gateway's management API: one connection per question, in clear text to this machine alone.
//!
//! The token goes with every request, so anywhere else it goes over TLS, to a server that the system's roots or the
//! bundle of `--cacert` vouch for. There is no way to turn that off.

use std::{net::IpAddr, path::Path, sync::Arc, time::Duration};

use bartizan_fetch::{trusting, trusting_system};
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::house::Answer;

/// Where a gateway is asked.
pub(super) struct Wire {
    /// As the server is called in `Host` and in messages.
    pub(super) authority: String,
    host: String,
    port: u16,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl Wire {
    /// The way to `http://127.0.0.1:9440` on this machine, or to `https://gateway.example:9440` anywhere.
    pub(super) fn to(url: &str, authorities: Option<&Path>) -> Answer<Self> {
        let wrong = || {
            format!(
                "{url:?} is not the address of a gateway; write `https://HOST:PORT`, or `http://127.0.0.1:9440` here"
            )
        };
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let authority = uri.authority().filter(|one| !one.as_str().contains('@')).ok_or_else(wrong)?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong().into());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = match uri.scheme_str() {
            Some("http") => {
                refuse_clear_text(&host)?;
                if authorities.is_some() {
                    return Err("--cacert is for https; this address is clear text".into());
                }
                None
            }
            Some("https") => {
                let config = match authorities {
                    Some(path) => {
                        let pem = std::fs::read(path)
                            .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
                        trusting(&pem).map_err(|error| format!("{}: {error}", path.display()))?
                    }
                    None => trusting_system()?,
                };
                let name = ServerName::try_from(host.clone()).map_err(|_| wrong())?;
                Some((config, name))
            }
            _ => return Err(wrong().into()),
        };
        let port = authority.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
        Ok(Wire { authority: authority.as_str().to_owned(), host, port, tls })
    }

    /// Sends a request and reads its answer, at most `bytes_max` of it, within `patience`.
    pub(super) async fn ask(
        &self,
        request: Request<Full<Bytes>>,
        bytes_max: usize,
        patience: Duration,
    ) -> Answer<Response<Bytes>> {
        tokio::time::timeout(patience, self.exchange(request, bytes_max))
            .await
            .map_err(|_| format!("{} does not answer", self.authority))?
    }

    async fn exchange(&self, request: Request<Full<Bytes>>, bytes_max: usize) -> Answer<Response<Bytes>> {
        let unreachable = |error: std::io::Error| {
            let hint = match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(rustls::Error::InvalidCertificate(_)) => {
                    "; name the authority that vouches for it with --cacert"
                }
                _ => "",
            };
            format!("{} cannot be reached: {error}{hint}", self.authority)
        };
        // `localhost` may be either address; the system tries both.
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(unreachable)?;
        match &self.tls {
            None => over(stream, request, bytes_max).await,
            Some((config, name)) => {
                let connector = TlsConnector::from(Arc::clone(config));
                let stream = connector.connect(name.clone(), stream).await.map_err(unreachable)?;
                over(stream, request, bytes_max).await
            }
        }
    }
}

async fn over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
    bytes_max: usize,
) -> Answer<Response<Bytes>> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driven = tokio::spawn(connection);
    let answer = sender.send_request(request).await?;
    let (head, body) = answer.into_parts();
    let bytes = Limited::new(body, bytes_max).collect().await;
    let bytes = bytes.map_err(|error| format!("the answer cannot be read: {error}"))?.to_bytes();
    driven.abort();
    Ok(Response::from_parts(head, bytes))
}

fn refuse_clear_text(host: &str) -> Answer<()> {
    let is_here = host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if is_here {
        return Ok(());
    }
    Err(format!(
        "{host} is not on this machine, and the token would go there in clear text; use `https://`, or a tunnel: \
         ssh -L 9440:127.0.0.1:9440 HOST"
    )
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clear_text_stays_on_this_machine_and_other_addresses_need_tls() {
        for (url, expected) in [
            ("http://127.0.0.1:9440", Ok(("127.0.0.1", 9440, false))),
            ("http://localhost:9440/", Ok(("localhost", 9440, false))),
            ("http://[::1]:9440", Ok(("::1", 9440, false))),
            ("https://gateway.example", Ok(("gateway.example", 443, true))),
            ("https://192.0.2.1:9440", Ok(("192.0.2.1", 9440, true))),
            ("http://192.0.2.1:9440", Err("clear text")),
            ("http://localhost.example:9440", Err("clear text")),
            ("http://user@localhost:9440", Err("is not the address")),
            ("https://gateway.example/admin", Err("is not the address")),
            ("ftp://gateway.example", Err("is not the address")),
            ("gateway.example:9440", Err("is not the address")),
        ] {
            match (Wire::to(url, None), expected) {
                (Ok(wire), Ok((host, port, tls))) => {
                    assert_eq!((&*wire.host, wire.port, wire.tls.is_some()), (host, port, tls), "{url}");
                }
                (Err(error), Err(word)) => assert!(error.to_string().contains(word), "{url}: {error}"),
                // Without roots on this machine there is no way to trust anybody.
                (Err(error), Ok((.., true))) => assert!(error.to_string().contains("root"), "{url}: {error}"),
                (found, _) => panic!("{url}: {}", found.is_ok()),
            }
        }
    }
}

//! Fetching from servers that answer as they should, and from those that do not.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::mpsc,
};

use bartizan_telemetry::{Metrics, metrics::Format};

use super::*;

const LONG: Duration = Duration::from_secs(10);

/// A server for one connection that answers `answer` to whatever is asked, and says what that was.
fn serve(answer: Vec<u8>, delay: Duration) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/keys?a=b", listener.local_addr().unwrap());
    let (tell, asked) = mpsc::channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        while !String::from_utf8_lossy(&text).contains("\r\n\r\n") {
            let read = stream.read(&mut buffer).unwrap();
            text.extend_from_slice(&buffer[..read]);
        }
        thread::sleep(delay);
        let _ = tell.send(String::from_utf8(text).unwrap());
        // A client that has had enough closes.
        let _ = stream.write_all(&answer);
    });
    (url, asked)
}

fn destination(url: &str, access: Access) -> Destination {
    Destination { url: url.parse().unwrap(), access, tls: None }
}

const LOOPBACK: Access = Access { private_network: true, clear_text: true };

fn get(url: &str, access: Access, limit: Duration) -> Result<Answer, FetchError> {
    let fetcher = Fetcher::start(Arc::default()).unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(fetcher.ask(
        &destination(url, access),
        Ask::get(FetchPurpose::KeySet, HeaderMap::new()),
        limit,
    ))
}

#[test]
fn what_is_asked_for_comes_with_its_status() {
    let answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: 3\r\ncache-control: max-age=9\r\n\r\nnay";
    let (url, asked) = serve(answer.to_vec(), Duration::ZERO);
    let answer = get(&url, LOOPBACK, LONG).unwrap();
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (404, &b"nay"[..]));
    assert_eq!(answer.fresh_for(), Some(Duration::from_secs(9)));
    let asked = asked.recv().unwrap();
    assert!(asked.starts_with("GET /keys?a=b HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains(&format!("host: {}", url.split('/').nth(2).unwrap())), "{asked}");
}

#[test]
fn a_form_is_sent_with_its_length() {
    let (url, asked) = serve(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_vec(), Duration::ZERO);
    let metrics = Metrics::new("0", std::time::SystemTime::now());
    let fetcher = Fetcher::start(Arc::clone(metrics.fetches())).unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let to = destination(&url, LOOPBACK);
    let form = Bytes::from_static(b"token=a");
    let answer = runtime
        .block_on(fetcher.ask(&to, Ask::form(FetchPurpose::Token, HeaderMap::new(), form), LONG))
        .unwrap();
    assert_eq!(answer.status, 200);
    let asked = asked.recv().unwrap();
    assert!(asked.starts_with("POST /keys?a=b HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("content-type: application/x-www-form-urlencoded"), "{asked}");
    assert!(asked.contains("content-length: 7"), "{asked}");
    // Nobody listens there any more.
    runtime.block_on(fetcher.ask(&to, Ask::get(FetchPurpose::KeySet, HeaderMap::new()), LONG)).unwrap_err();
    let counted = metrics.expose(Format::Prometheus);
    for line in [
        r#"bartizan_fetches_total{purpose="token",outcome="answered"} 1"#,
        r#"bartizan_fetches_total{purpose="key_set",outcome="unreachable"} 1"#,
    ] {
        assert!(counted.contains(line), "{counted}");
    }
}

#[test]
fn a_redirect_is_an_answer_that_nobody_follows() {
    let there = TcpListener::bind("127.0.0.1:0").unwrap();
    there.set_nonblocking(true).unwrap();
    let to = format!("http://{}/", there.local_addr().unwrap());
    let answer = format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
    let (url, _asked) = serve(answer.into_bytes(), Duration::ZERO);
    assert_eq!(get(&url, LOOPBACK, LONG).unwrap().status, 302);
    assert!(there.accept().is_err());
}

#[test]
fn an_answer_that_is_too_large_too_late_or_broken_is_none() {
    let large = |framing: &str, bytes: usize| {
        let mut answer = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n").into_bytes();
        answer.resize(answer.len() + bytes, b' ');
        answer
    };
    let most = client::BODY_BYTES_MAX;
    let (url, _asked) = serve(large(&format!("content-length: {most}"), most), Duration::ZERO);
    assert_eq!(get(&url, LOOPBACK, LONG).unwrap().body.len(), most);
    for framing in [format!("content-length: {}", most + 1), "connection: close".to_owned()] {
        let (url, _asked) = serve(large(&framing, most + 1), Duration::ZERO);
        assert_eq!(get(&url, LOOPBACK, LONG).unwrap_err(), FetchError::TooLarge);
    }
    let (url, _asked) = serve(large("content-length: 0", 0), Duration::from_secs(5));
    assert_eq!(get(&url, LOOPBACK, Duration::from_millis(100)).unwrap_err(), FetchError::TimedOut);
    let (url, _asked) = serve(b"220 hello\r\n".to_vec(), Duration::ZERO);
    assert!(matches!(get(&url, LOOPBACK, LONG).unwrap_err(), FetchError::Protocol(_)));
}

#[test]
fn an_address_that_may_not_be_fetched_from_is_not_connected_to() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    for (url, access) in [
        (format!("http://127.0.0.1:{port}/"), Access::default()),
        (format!("http://127.0.0.1:{port}/"), Access { private_network: true, clear_text: false }),
        (format!("https://127.0.0.1:{port}/"), Access::default()),
        (format!("http://localhost:{port}/"), Access { private_network: false, clear_text: true }),
        (format!("http://[::ffff:127.0.0.1]:{port}/"), Access::default()),
    ] {
        let error = get(&url, access, LONG).unwrap_err();
        assert!(matches!(error, FetchError::AddressRefused(_)), "{url}: {error:?}");
    }
    assert!(listener.accept().is_err());
}

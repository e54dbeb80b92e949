//! `curl` inside a container, over the fabric.
//!
//! Source: curl(1), the options that health checks use and the exit codes 6, 7, 22, 28, 35, 52, 58, 60 and 77.
//! Redirects are not followed. Nobody is trusted but who `--cacert` names.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Method, Uri};
use hyper_util::rt::TokioIo;

use hopwise_fabric::net::{TcpStream, lookup_host};
use hopwise_security::Randomness;
use hopwise_security::tls::{ClientSettings, Stream, TlsConnector, TlsFailure};
use rand::Rng;

use crate::shell::{Files, Outcome};

/// Options without a value that change nothing here, by letter and by name.
const PLAIN: [(char, &str); 6] = [
    ('s', "--silent"),
    ('S', "--show-error"),
    ('k', "--insecure"),
    ('f', "--fail"),
    ('4', "--ipv4"),
    ('v', "--verbose"),
];
/// Options whose value changes nothing here.
const VALUED: [&str; 2] = ["--capath", "--connect-timeout"];

/// A call of curl.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Curl {
    request: HttpRequest,
    fail: bool,
    max_time: Option<Duration>,
    discard: bool,
    write_out: Option<String>,
    trust: CurlTrust,
}

/// The options about TLS: paths of files, and whether everybody is trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct CurlTrust {
    insecure: bool,
    authorities: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
}

/// An HTTP request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// The method.
    pub method: Method,
    /// Where to.
    pub uri: Uri,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Whom to trust where the scheme is `https`.
    pub trust: ClientSettings,
}

/// Why a request got no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoResponse {
    /// The name does not resolve.
    Name,
    /// Nobody accepts the connection.
    Connection,
    /// What came is not a response.
    Protocol,
    /// The server's certificate is not accepted.
    Certificate,
    /// The TLS handshake failed otherwise.
    Handshake,
}

impl Curl {
    /// Reads curl's arguments.
    ///
    /// # Errors
    /// An option or URL that is not understood.
    pub fn parse(args: &[String]) -> Result<Curl, String> {
        let request = HttpRequest {
            method: Method::GET,
            uri: Uri::default(),
            headers: Vec::new(),
            trust: ClientSettings::default(),
        };
        let trust = CurlTrust::default();
        let mut curl = Curl { request, fail: false, max_time: None, discard: false, write_out: None, trust };
        let mut url = None;
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().cloned().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "-m" | "--max-time" => curl.max_time = Some(max_time(&value()?)?),
                "-X" | "--request" => {
                    let method = value()?;
                    curl.request.method = method.parse().map_err(|_| format!("{method} is no method"))?;
                }
                "-H" | "--header" => {
                    let header = value()?;
                    let (name, value) = header.split_once(':').ok_or("a header needs a colon")?;
                    curl.request.headers.push((name.trim().to_owned(), value.trim().to_owned()));
                }
                "-o" | "--output" if value()? == "/dev/null" => curl.discard = true,
                "-w" | "--write-out" => curl.write_out = Some(write_out(&value()?)?),
                "--cacert" => curl.trust.authorities = Some(value()?),
                "--cert" | "-E" => curl.trust.certificate = Some(value()?),
                "--key" => curl.trust.key = Some(value()?),
                valued if VALUED.contains(&valued) => drop(value()?),
                plain if is_plain(plain) => {
                    curl.fail |= is_set(plain, 'f', "--fail");
                    curl.trust.insecure |= is_set(plain, 'k', "--insecure");
                }
                operand if !operand.starts_with('-') && url.is_none() => url = Some(operand),
                other => return Err(format!("the argument {other} is not understood")),
            }
        }
        let url = url.ok_or("there is no URL")?;
        let whole = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        curl.request.uri = whole.parse().map_err(|_| format!("{url} is no URL"))?;
        Ok(curl)
    }

    /// Reads the files that the options name.
    ///
    /// # Errors
    /// The exit code for a file that is missing, and what is said about it.
    fn load(&self, files: &Files) -> Result<ClientSettings, (i32, String)> {
        let file = |path: &String, status| {
            let missing = || (status, format!("error setting certificate file: {path}"));
            files.get(path).cloned().ok_or_else(missing)
        };
        let CurlTrust { insecure, authorities, certificate, key } = &self.trust;
        let identity = match certificate {
            Some(path) => Some((file(path, 58)?, file(key.as_ref().unwrap_or(path), 58)?)),
            None => None,
        };
        let authorities = authorities.as_ref().map(|path| file(path, 77)).transpose()?;
        Ok(ClientSettings { authorities, any_server: *insecure, identity, ..ClientSettings::default() })
    }
}

fn is_plain(option: &str) -> bool {
    match option.strip_prefix('-') {
        Some(name) if name.starts_with('-') => PLAIN.iter().any(|(_, it)| *it == option),
        Some(letters) => {
            !letters.is_empty() && letters.chars().all(|letter| PLAIN.iter().any(|(it, _)| *it == letter))
        }
        None => false,
    }
}

fn is_set(option: &str, letter: char, name: &str) -> bool {
    option == name || (!option.starts_with("--") && option.contains(letter))
}

fn max_time(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| format!("{text} is no number of seconds"))
}

fn write_out(format: &str) -> Result<String, String> {
    let rest = format.replace("%{http_code}", "").replace("%{response_code}", "");
    if rest.contains('%') {
        Err(format!("the format {format} is not understood"))
    } else {
        Ok(format.to_owned())
    }
}

/// Makes the request; the outcome is what curl prints and its exit code. `files` are those of the container.
pub async fn perform(curl: &Curl, files: &Files) -> Outcome {
    let mut request = curl.request.clone();
    match curl.load(files) {
        Ok(trust) => request.trust = trust,
        Err((status, what)) => return Outcome::failure(status, format!("curl: ({status}) {what}")),
    }
    let asked = ask(&request);
    let asked = match curl.max_time {
        Some(limit) => tokio::time::timeout(limit, asked).await.ok(),
        None => Some(asked.await),
    };
    let failed = |status, what: &str| {
        let mut outcome = Outcome::failure(status, format!("curl: ({status}) {what}"));
        outcome.stdout = written(curl, 0);
        outcome
    };
    match asked {
        None => failed(28, "Operation timed out"),
        Some(Err(NoResponse::Name)) => failed(6, "Could not resolve host"),
        Some(Err(NoResponse::Connection)) => failed(7, "Failed to connect"),
        Some(Err(NoResponse::Protocol)) => failed(52, "Empty reply from server"),
        Some(Err(NoResponse::Certificate)) => failed(60, "SSL certificate problem"),
        Some(Err(NoResponse::Handshake)) => failed(35, "SSL connect error"),
        Some(Ok((status, _))) if curl.fail && status >= 400 => {
            let mut outcome = failed(22, &format!("The requested URL returned error: {status}"));
            outcome.stdout = written(curl, status);
            outcome
        }
        Some(Ok((status, body))) => {
            let mut stdout = if curl.discard { Vec::new() } else { body };
            stdout.extend(written(curl, status));
            Outcome::success(stdout)
        }
    }
}

fn written(curl: &Curl, status: u16) -> Vec<u8> {
    let code = format!("{status:03}");
    let text = curl.write_out.as_deref().unwrap_or("").replace("%{http_code}", &code);
    text.replace("%{response_code}", &code).into_bytes()
}

/// Makes an HTTP request from the current host: status and body.
///
/// # Errors
/// Why there is no response.
pub async fn ask(request: &HttpRequest) -> Result<(u16, Vec<u8>), NoResponse> {
    let HttpRequest { method, uri, headers, trust } = request;
    let host = uri.host().unwrap_or("");
    let is_tls = uri.scheme_str() == Some("https");
    let default_port = if is_tls { 443 } else { 80 };
    let port = uri.port_u16().unwrap_or(default_port);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<SocketAddr> = lookup_host(bare, port).await.map_err(|_| NoResponse::Name)?.collect();
    let stream = connect(&addresses).await.ok_or(NoResponse::Connection)?;
    let stream = if is_tls { secure(trust, bare, port, stream).await? } else { Stream::Plain(stream) };
    let protocol = |_| NoResponse::Protocol;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(protocol)?;
    let path = uri.path_and_query().map_or("/", |it| it.as_str());
    let mut builder = hyper::Request::builder().method(method.clone()).uri(path);
    let names = |name: &str| headers.iter().any(|(it, _)| it.eq_ignore_ascii_case(name));
    if !names("host") {
        builder = builder.header("Host", uri.authority().map_or(host, |it| it.as_str()));
    }
    for (name, value) in headers {
        builder = builder.header(name.as_str(), value.as_str());
    }
    let request = builder.body(Empty::<Bytes>::new()).map_err(|_| NoResponse::Protocol)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(protocol)?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(protocol)?.to_bytes().to_vec();
        Ok((status, body))
    };
    let (mut exchange, mut connection) = (pin!(exchange), pin!(connection));
    tokio::select! {
        biased;
        done = &mut exchange => done,
        // What it has read before its end is still to be taken.
        _ = &mut connection => exchange.await,
    }
}

/// Shakes hands.
async fn secure(
    trust: &ClientSettings,
    host: &str,
    port: u16,
    stream: TcpStream,
) -> Result<Stream<TcpStream>, NoResponse> {
    let moment = hopwise_engine::now().as_nanos();
    let seed = hopwise_engine::stream(&format!("https/{host}:{port}/{moment}")).next_u64();
    let clock = Arc::new(hopwise_engine::clock::unix_ms);
    let connector = TlsConnector::new(trust, clock, Randomness::from_seed(seed));
    let connector = connector.map_err(|_| NoResponse::Handshake)?;
    match connector.connect(host, stream).await {
        Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
        Err(
            TlsFailure::WrongName { .. }
            | TlsFailure::UnknownAuthority
            | TlsFailure::Expired
            | TlsFailure::NotYetValid
            | TlsFailure::BadCertificate(_),
        ) => Err(NoResponse::Certificate),
        Err(_) => Err(NoResponse::Handshake),
    }
}

async fn connect(addresses: &[SocketAddr]) -> Option<TcpStream> {
    for address in addresses {
        if let Ok(stream) = TcpStream::connect(*address).await {
            return Some(stream);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Curl, String> {
        Curl::parse(&line.split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_options_of_health_checks_are_read() {
        let curl = parse("--silent --fail -k -m 5 --cacert /ca.crt https://a.b.svc:9644/v1/status/ready");
        let curl = curl.expect("it is understood");
        assert!(curl.trust.insecure && curl.fail && !curl.discard);
        assert_eq!(curl.trust.authorities.as_deref(), Some("/ca.crt"));
        assert_eq!(curl.load(&Files::new()).unwrap_err().0, 77);
        assert_eq!(curl.max_time, Some(Duration::from_secs(5)));
        assert_eq!(curl.request.uri.port_u16(), Some(9644));
        let curl = parse("-X PUT -sf -o /dev/null -w %{http_code} localhost:1/x").expect("it is understood");
        assert_eq!((curl.request.method.as_str(), curl.fail, curl.discard), ("PUT", true, true));
        assert!(!curl.trust.insecure);
        assert_eq!(String::from_utf8(written(&curl, 200)).as_deref(), Ok("200"));
        assert_eq!(curl.request.uri.scheme_str(), Some("http"));
    }

    #[test]
    fn other_options_are_not_understood() {
        for line in
            ["--retry 3 http://a", "-d x http://a", "-o file http://a", "-w %{time_total} http://a", "-s"]
        {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}

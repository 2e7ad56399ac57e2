//! The client of the REST API. The only file that names `ureq`.
//!
//! Every error says what we were doing, with which server, and what to do next; it is printed once, by whoever
//! gives up. With `https://` the server proves who it is, always. No proxy is used, no redirect is followed: the key goes to `SERVER` and nowhere else.

mod error;

use std::io::{self, Read};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use ureq::config::ConfigBuilder;
use ureq::http::{Method, Request, Response};
use ureq::typestate::AgentScope;
use ureq::{Agent, Body, Timeout};

use crate::limits;
use crate::names::{ClientId, FileKey, RequestId};
use crate::settings::{OperatorSettings, UsageError};
use crate::stream::tls;
use crate::transfer::Transfer;
use error::{About, Fault, refusal};

pub use error::ApiError;

type AgentConfig = ConfigBuilder<AgentScope>;

/// A server, with the key for it.
pub struct Api {
    agent: Agent,
    settings: OperatorSettings,
}

/// A connected client, as far as it is shown.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Client {
    /// Its id.
    pub client_id: ClientId,
    /// Its labels.
    #[serde(default)]
    pub meta: serde_json::Value,
    /// When its line was opened.
    pub connected_at: Option<u64>,
    /// Where it dials from.
    pub address: Option<String>,
    /// The version of its agent.
    pub agent_version: Option<String>,
    /// Who finds out how fast its socket may send.
    pub congestion_control: Option<String>,
    /// Transfers that run.
    pub active_transfers: Option<u64>,
    /// Round trip of the last ping.
    pub rtt_ms: Option<f64>,
    /// Another machine that came with its id.
    pub contested: Option<Contested>,
}

/// Another machine, as far as it is shown.
#[derive(Debug, Deserialize)]
pub struct Contested {
    /// Where it dials from.
    pub address: String,
}

/// What is asked for in a pull.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PullBody {
    /// Which file.
    pub file_key: Option<FileKey>,
    /// How long to wait for a client that is not connected, as the operator wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_for: Option<String>,
    /// Most bytes a second, as the operator wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rate: Option<String>,
}

/// One call.
struct Call<'a> {
    /// In words, for errors.
    doing: &'a str,
    about: About,
    method: Method,
    path: String,
    body: Option<String>,
    /// What names it, for the server to know it again.
    key: Option<RequestId>,
    /// How long the server may let it wait on purpose.
    wait: Duration,
}

impl Call<'_> {
    fn get(doing: &str, path: String) -> Call<'_> {
        let (body, key, wait) = (None, None, Duration::ZERO);
        Call { doing, about: About::Transfer, method: Method::GET, path, body, key, wait }
    }
}

impl Api {
    /// A client for the server of `settings`. Nothing is sent yet.
    ///
    /// # Errors
    /// When `TLS_CA` is needed and can't be used.
    pub fn new(settings: OperatorSettings) -> Result<Api, UsageError> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("towline/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(limits::CALL_TIME))
            .timeout_connect(Some(limits::CALL_TIME))
            .timeout_send_request(Some(limits::CALL_TIME))
            .timeout_send_body(Some(limits::CALL_TIME))
            .timeout_per_read(Some(limits::ANSWER_TIME));
        Ok(Api { agent: secured(config, &settings)?.build().new_agent(), settings })
    }

    /// The answer to a GET as it came, for `--json`.
    ///
    /// # Errors
    /// When there is none, or it is an error.
    pub fn text(&self, doing: &str, path: &str) -> Result<String, ApiError> {
        self.call(Call::get(doing, path.to_owned()))
    }

    /// The clients that are connected.
    ///
    /// # Errors
    /// When the server does not tell.
    pub fn clients(&self) -> Result<Vec<Client>, ApiError> {
        let doing = "list the clients";
        self.read(doing, &self.text(doing, "/clients")?)
    }

    /// Asks for one file of one client. However often it is called with the same `key`, there is one transfer.
    ///
    /// # Errors
    /// When the server does not accept it.
    pub fn pull(&self, client: &ClientId, body: &PullBody, key: RequestId) -> Result<Transfer, ApiError> {
        let doing = format!("pull from {client}");
        let body = serde_json::to_string(body).expect("a body of text becomes JSON");
        let call = Call {
            about: About::Client,
            method: Method::POST,
            body: Some(body),
            key: Some(key),
            ..Call::get(&doing, format!("/download/{client}"))
        };
        let text = self.call(call)?;
        self.read(&doing, &text)
    }

    /// One transfer: as it is now, or after `wait` or its end, whichever comes first.
    ///
    /// # Errors
    /// When the server does not tell.
    pub fn transfer(&self, id: RequestId, wait: Duration) -> Result<Transfer, ApiError> {
        let doing = format!("look at transfer {id}");
        let path = match wait.as_secs() {
            0 => format!("/transfers/{id}"),
            seconds => format!("/transfers/{id}?wait={seconds}"),
        };
        let text = self.call(Call { wait, ..Call::get(&doing, path) })?;
        self.read(&doing, &text)
    }

    /// Ends one transfer; the answer as it came.
    ///
    /// # Errors
    /// When it has ended already, or there is none.
    pub fn cancel(&self, id: RequestId) -> Result<String, ApiError> {
        let doing = format!("cancel transfer {id}");
        self.call(Call { method: Method::DELETE, ..Call::get(&doing, format!("/transfers/{id}")) })
    }

    /// The verified bytes of one transfer. Reading them fails when none comes for a minute.
    ///
    /// # Errors
    /// When the server does not give them.
    pub fn file(&self, id: RequestId) -> Result<impl Read + use<>, ApiError> {
        let doing = format!("fetch the file of transfer {id}");
        let response = self.send(Call::get(&doing, format!("/transfers/{id}/file")))?;
        Ok(response.into_body().into_reader())
    }

    /// Reads the JSON of an answer.
    ///
    /// # Errors
    /// When it is not what it should be.
    pub fn read<T: DeserializeOwned>(&self, doing: &str, text: &str) -> Result<T, ApiError> {
        serde_json::from_str(text).map_err(|e| self.error(doing, Fault::Malformed(e.to_string())))
    }

    fn call(&self, call: Call<'_>) -> Result<String, ApiError> {
        let doing = call.doing;
        let mut response = self.send(call)?;
        let text = response.body_mut().with_config().limit(limits::MAX_ANSWER_BYTES).read_to_string();
        text.map_err(|e| self.error(doing, fault(e)))
    }

    fn send(&self, call: Call<'_>) -> Result<Response<Body>, ApiError> {
        let malformed = |e: ureq::http::Error| self.error(call.doing, Fault::Malformed(e.to_string()));
        let patience = Some(call.wait + limits::ANSWER_TIME);
        let request = Request::builder()
            .method(call.method)
            .uri(format!("{}{}", self.settings.server, call.path))
            .header("x-api-key", self.settings.key.expose());
        let request = match call.key {
            Some(key) => request.header("idempotency-key", key.to_string()),
            None => request,
        };
        // No body is another type than a body of no bytes, hence the two branches.
        let sent = match call.body {
            Some(body) => {
                let request =
                    request.header("content-type", "application/json").body(body).map_err(malformed)?;
                let request = self.agent.configure_request(request).timeout_per_read(patience).build();
                self.agent.run(request)
            }
            None => {
                let request = request.body(()).map_err(malformed)?;
                let request = self.agent.configure_request(request).timeout_per_read(patience).build();
                self.agent.run(request)
            }
        };
        let mut response = sent.map_err(|e| self.error(call.doing, fault(e)))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let text = response.body_mut().with_config().limit(limits::MAX_BODY_BYTES as u64).read_to_string();
        Err(self.error(call.doing, refusal(status, call.about, &text.unwrap_or_default())))
    }

    fn error(&self, doing: &str, fault: Fault) -> ApiError {
        ApiError { doing: doing.to_owned(), server: self.settings.server.clone(), fault }
    }
}

/// Sets who may have signed the server's certificate.
#[cfg(feature = "tls")]
fn secured(config: AgentConfig, settings: &OperatorSettings) -> Result<AgentConfig, UsageError> {
    use std::sync::Arc;
    use ureq::tls::{Certificate, RootCerts, TlsConfig};
    let roots = match &settings.tls_ca {
        Some(path) if settings.server.starts_with("https:") => {
            let found = tls::authorities("TLS_CA", path).map_err(|wanted| UsageError::Argument { wanted })?;
            RootCerts::Specific(Arc::new(
                found.iter().map(|der| Certificate::from_der(der).to_owned()).collect(),
            ))
        }
        Some(_) | None => RootCerts::WebPki,
    };
    Ok(config.tls_config(TlsConfig::builder().root_certs(roots).build()))
}

/// Nothing: without TLS there is no `https://`.
#[cfg(not(feature = "tls"))]
fn secured(config: AgentConfig, _: &OperatorSettings) -> Result<AgentConfig, UsageError> {
    Ok(config)
}

/// What it means that there is no answer. Only what fails before the connection is open is certain to be without effect.
fn fault(error: ureq::Error) -> Fault {
    use io::ErrorKind::{AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable};
    if let ureq::Error::Io(e) = &error
        && let Some(why) = tls::words(e)
    {
        return Fault::Insecure(why);
    }
    match error {
        ureq::Error::Io(e) => match e.kind() {
            ConnectionRefused | HostUnreachable | NetworkUnreachable | AddrNotAvailable => {
                Fault::Unreachable(e.to_string())
            }
            _ => Fault::Lost(e.to_string()),
        },
        ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
            Fault::Unreachable("no answer in time".to_owned())
        }
        ureq::Error::Timeout(_) => Fault::Lost("no answer in time".to_owned()),
        ureq::Error::Protocol(e) => Fault::Lost(e.to_string()),
        other => Fault::Unreachable(other.to_string()),
    }
}

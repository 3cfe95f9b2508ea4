//! What a link needs to know.

use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo,
    RedisResult, TlsCertificates,
};
use std::net::IpAddr;

/// The port of a sentinel that names none.
const SENTINEL_PORT: u16 = 26379;

/// Where Redis is, and under which names to live there.
#[derive(Clone)]
pub struct LinkConfig {
    /// One Redis: `redis://[user:password@]host[:port][/db]`, or `rediss://` for TLS; user and password are
    /// percent-encoded. With `sentinel`: the sentinels, separated by commas, of which the first one may hold user, password
    /// and db of the primary, and the others may be bare `host:port`. If they are reached by TLS, so is the primary.
    pub url: String,
    /// Goes before every key and topic, so that several clusters can share one Redis.
    pub prefix: String,
    /// The primary is asked of sentinels.
    pub sentinel: Option<SentinelConfig>,
    /// What an address with `rediss://` is checked with.
    pub tls: LinkTls,
}

/// Whom a link by TLS trusts, and what it shows of itself. Nothing of it is ever printed.
#[derive(Clone, Default)]
pub struct LinkTls {
    /// Certificate authorities in PEM, in place of the public ones.
    pub authorities: Option<Vec<u8>>,
    /// The link's own certificate and its key in PEM, for a Redis that asks for one.
    pub own: Option<(Vec<u8>, Vec<u8>)>,
}

impl std::fmt::Debug for LinkTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkTls").finish_non_exhaustive()
    }
}

impl LinkTls {
    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        self.authorities.is_none() && self.own.is_none()
    }

    /// How to connect, with this if that is by TLS at all.
    pub(crate) fn on(&self, info: ConnectionInfo) -> RedisResult<ConnectionInfo> {
        if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            return Ok(info);
        }
        let own = self.own.clone().map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
        let certificates = TlsCertificates { client_tls: own, root_cert: self.authorities.clone() };
        Ok(Client::build_with_tls(info, certificates)?.get_connection_info().clone())
    }
}

/// How sentinels are asked.
#[derive(Clone)]
pub struct SentinelConfig {
    /// The name under which they watch the primary.
    pub master: String,
    /// Their own user, where they have users.
    pub username: Option<String>,
    /// Their own password, where they ask for one. That of the primary belongs into the URL.
    pub password: Option<String>,
}

impl std::fmt::Debug for LinkConfig {
    /// Without the address: it may hold a password, and configurations end up in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let master = self.sentinel.as_ref().map(|sentinel| &sentinel.master);
        f.debug_struct("LinkConfig").field("prefix", &self.prefix).field("master", &master).finish_non_exhaustive()
    }
}

/// By which way Redis is reached, as far as an address tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// It leads over a network, so others may be on it.
    pub leaves_the_machine: bool,
    /// Whoever is on the way cannot read or change what goes there.
    pub is_encrypted: bool,
    /// Redis asks for a password.
    pub has_password: bool,
}

/// Why an address cannot be used; without the address itself, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// Redis' own client cannot read it.
    #[error("{0}")]
    Unreadable(#[from] redis::RedisError),
    /// One of several cannot be read.
    #[error("address {0} of the sentinels: {1}")]
    UnreadableSentinel(usize, redis::RedisError),
    /// Sentinels live behind TCP.
    #[error("address {0} of the sentinels: only redis://host:port, rediss://host:port or host:port can be a sentinel")]
    NotTcp(usize),
    /// What is said to some would be heard on the way to the others.
    #[error("either all sentinels are reached by TLS (rediss://) or none")]
    HalfTls,
    /// Whoever is on the way could be the Redis.
    #[error("#insecure is not supported: name the authority in redis.tls.ca_file")]
    Insecure,
    /// Each sentinel leads to the same primary.
    #[error("the sentinels' addresses name different users, passwords or dbs of the primary")]
    Contradiction,
}

/// What is connected to.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// One Redis.
    Single(ConnectionInfo),
    /// The primary that sentinels name.
    Sentinel {
        sentinels: Vec<ConnectionInfo>,
        /// Everything but the primary's address.
        primary: RedisConnectionInfo,
        master: String,
        /// Where it is reached by TLS.
        tls: Option<LinkTls>,
    },
}

impl LinkConfig {
    /// The default prefix.
    pub const DEFAULT_PREFIX: &'static str = "gw:";

    /// Checks the address or addresses; nothing is connected.
    pub fn check(&self) -> Result<(), AddressError> {
        self.place().map(drop)
    }

    /// By which way Redis is reached.
    ///
    /// # Errors
    /// When the address is none.
    pub fn way(&self) -> Result<Way, AddressError> {
        let of = |addresses: &[&ConnectionAddr], primary: &RedisConnectionInfo| Way {
            leaves_the_machine: addresses.iter().any(|address| leaves_the_machine(address)),
            is_encrypted: addresses.iter().all(|address| matches!(address, ConnectionAddr::TcpTls { .. })),
            has_password: primary.password().is_some_and(|password| !password.is_empty()),
        };
        Ok(match self.place()? {
            Place::Single(info) => of(&[info.addr()], info.redis_settings()),
            Place::Sentinel { sentinels, primary, .. } => {
                of(&sentinels.iter().map(ConnectionInfo::addr).collect::<Vec<_>>(), &primary)
            }
        })
    }

    pub(crate) fn place(&self) -> Result<Place, AddressError> {
        let Some(sentinel) = &self.sentinel else {
            let info = self.url.as_str().into_connection_info()?;
            refuse_insecure(info.addr())?;
            return Ok(Place::Single(self.tls.on(info)?));
        };
        let mut own = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some(username) = &sentinel.username {
            own = own.set_username(username);
        }
        if let Some(password) = &sentinel.password {
            own = own.set_password(password);
        }
        let (mut username, mut password, mut db) = (None, None, None);
        let mut sentinels = Vec::new();
        let mut with_tls = 0;
        for (at, address) in self.url.split(',').map(str::trim).enumerate() {
            let (address, of_primary) = sentinel_address(address, at + 1)?;
            with_tls += usize::from(matches!(address, ConnectionAddr::TcpTls { .. }));
            // RESP2 and no db: older sentinels know neither HELLO nor SELECT.
            sentinels.push(self.tls.on(address.into_connection_info()?.set_redis_settings(own.clone()))?);
            agree(&mut username, of_primary.username().map(str::to_owned))?;
            agree(&mut password, of_primary.password().map(str::to_owned))?;
            agree(&mut db, Some(of_primary.db()).filter(|db| *db != 0))?;
        }
        let mut primary = RedisConnectionInfo::default().set_db(db.unwrap_or_default());
        if let Some(username) = username {
            primary = primary.set_username(username);
        }
        if let Some(password) = password {
            primary = primary.set_password(password);
        }
        let tls = match with_tls {
            0 => None,
            all if all == sentinels.len() => Some(self.tls.clone()),
            _ => return Err(AddressError::HalfTls),
        };
        Ok(Place::Sentinel { sentinels, primary, master: sentinel.master.clone(), tls })
    }
}

/// Takes what is said; whatever is said twice must be the same.
fn agree<T: PartialEq>(known: &mut Option<T>, said: Option<T>) -> Result<(), AddressError> {
    if known.is_some() && said.is_some() && *known != said {
        return Err(AddressError::Contradiction);
    }
    *known = known.take().or(said);
    Ok(())
}

/// A sentinel's address, and what stands in it about the primary.
fn sentinel_address(text: &str, number: usize) -> Result<(ConnectionAddr, RedisConnectionInfo), AddressError> {
    let text = if text.contains("://") { text.to_owned() } else { format!("redis://{text}") };
    let names_port = redis::parse_redis_url(&text).is_some_and(|url| url.port().is_some());
    let info = text.into_connection_info().map_err(|error| AddressError::UnreadableSentinel(number, error))?;
    refuse_insecure(info.addr())?;
    let port_or_default = |port: u16| if names_port { port } else { SENTINEL_PORT };
    let address = match info.addr() {
        ConnectionAddr::Tcp(host, port) => ConnectionAddr::Tcp(host.clone(), port_or_default(*port)),
        ConnectionAddr::TcpTls { host, port, .. } => tls_address(host.clone(), port_or_default(*port)),
        _ => return Err(AddressError::NotTcp(number)),
    };
    Ok((address, info.redis_settings().clone()))
}

fn refuse_insecure(address: &ConnectionAddr) -> Result<(), AddressError> {
    match address {
        ConnectionAddr::TcpTls { insecure: true, .. } => Err(AddressError::Insecure),
        _ => Ok(()),
    }
}

/// An address that is reached by TLS; [`LinkTls::on`] adds the certificates.
pub(crate) fn tls_address(host: String, port: u16) -> ConnectionAddr {
    ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
}

fn leaves_the_machine(address: &ConnectionAddr) -> bool {
    let (ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. }) = address else { return false };
    host != "localhost" && !host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// RESP3, because only there a lost connection announces itself.
pub(crate) fn resp3(settings: &RedisConnectionInfo) -> RedisConnectionInfo {
    settings.clone().set_protocol(ProtocolVersion::RESP3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> LinkConfig {
        let sentinel =
            SentinelConfig { master: "mymaster".into(), username: None, password: Some("of sentinels".into()) };
        LinkConfig { url: url.into(), prefix: "gw:".into(), sentinel: Some(sentinel), tls: LinkTls::default() }
    }

    fn place(url: &str) -> (Vec<String>, RedisConnectionInfo) {
        match config(url).place() {
            Ok(Place::Sentinel { sentinels, primary, .. }) => {
                for sentinel in &sentinels {
                    let own = sentinel.redis_settings();
                    assert_eq!((own.password(), own.username(), own.db()), (Some("of sentinels"), None, 0));
                }
                (sentinels.iter().map(|s| s.addr().to_string()).collect(), primary)
            }
            other => panic!("{url}: {other:?}"),
        }
    }

    #[test]
    fn sentinels_are_separated_by_commas_and_their_port_has_a_default() {
        for url in
            ["redis://s1:26379,redis://s2:1,redis://s3:6379", "s1,s2:1,s3:6379", "redis://s1, s2:1 ,redis://s3:6379"]
        {
            assert_eq!(place(url).0, ["s1:26379", "s2:1", "s3:6379"], "{url}");
        }
        assert_eq!(place("redis://[::1]:7,[::2]").0, ["::1:7", "::2:26379"]);
    }

    #[test]
    fn user_password_and_db_in_the_addresses_are_those_of_the_primary() {
        for url in [
            "redis://ann:s3cret@s1,s2,s3/3",
            "s1,ann:s3cret@s2:5/3",
            "ann:s3cret@s1/3,ann:s3cret@s2",
            "s1/3,ann:s3cret@s2/3",
        ] {
            let (_, primary) = place(url);
            assert_eq!(
                (primary.username(), primary.password(), primary.db()),
                (Some("ann"), Some("s3cret"), 3),
                "{url}"
            );
        }
        assert_eq!(place("s1").1.password(), None);
    }

    #[test]
    fn user_and_password_are_percent_encoded() {
        let (_, primary) = place("redis://ann%40corp:p%2Cw%3A%2F%40%25@s1,s2");
        assert_eq!((primary.username(), primary.password()), (Some("ann@corp"), Some("p,w:/@%")));
        let single = LinkConfig { sentinel: None, ..config("rediss://ann:p%40w@redis.example:6380/2") };
        let Ok(Place::Single(info)) = single.place() else { panic!("one Redis") };
        assert_eq!((info.redis_settings().username(), info.redis_settings().password()), (Some("ann"), Some("p@w")));
        assert_eq!(info.addr().to_string(), "redis.example:6380");
        assert!(!format!("{single:?} {info:?}").contains("p@w"));
    }

    #[test]
    fn sentinels_that_are_reached_by_tls_lead_to_a_primary_by_tls() {
        let by_tls = |url| match config(url).place() {
            Ok(Place::Sentinel { sentinels, tls, .. }) => {
                let all = sentinels.iter().all(|s| matches!(s.addr(), ConnectionAddr::TcpTls { .. }));
                assert_eq!(all, tls.is_some(), "{url}");
                all
            }
            other => panic!("{url}: {other:?}"),
        };
        assert!(by_tls("rediss://s1,rediss://s2:7") && !by_tls("redis://s1,s2"));
        assert_eq!(place("rediss://s1,rediss://s2:7").0, ["s1:26379", "s2:7"]);
    }

    #[test]
    fn faults_name_the_place_and_never_the_password() {
        for (url, part) in [
            ("redis://:s3cret@s1,:s3cret@", "address 2"),
            ("redis://s1,unix:///run/s3cret", "address 2"),
            ("redis://s1,http://:s3cret@s2", "address 2"),
            ("", "address 1"),
            ("redis://s1,,s2", "address 2"),
            ("redis://:s3cret@s1,:other@s2", "different"),
            ("redis://:s3cret@s1/1,s2/2", "different"),
            ("redis://:s3cret@s1/x", "address 1"),
            ("rediss://:s3cret@s1,redis://s2", "all sentinels"),
            ("rediss://:s3cret@s1/#insecure", "insecure"),
        ] {
            let fault = config(url).check().expect_err(url).to_string();
            assert!(fault.contains(part) && !fault.contains("s3cret"), "{url}: {fault}");
        }
        assert!(!format!("{:?}", config("redis://:s3cret@s1")).contains("s3cret"));
        assert!(!format!("{:?}", config("redis://:s3cret@s1").place()).contains("s3cret"));
    }

    #[test]
    fn an_address_tells_whether_it_leads_over_a_network_and_asks_for_a_password() {
        let single = |url: &str| LinkConfig { sentinel: None, ..config(url) }.way().expect("an address");
        for (url, leaves_the_machine, has_password) in [
            ("redis://localhost", false, false),
            ("redis://127.0.0.9:1", false, false),
            ("redis://[::1]", false, false),
            ("redis://:s3cret@10.0.0.1/3", true, true),
            ("redis://:@redis", true, false),
            ("redis://localhost.example", true, false),
            ("unix:///run/redis.sock", false, false),
        ] {
            assert_eq!(single(url), Way { leaves_the_machine, is_encrypted: false, has_password }, "{url}");
        }
        let way = config("redis://:s3cret@localhost,s2").way().expect("addresses");
        assert!(way.leaves_the_machine && way.has_password, "one of them is elsewhere: {way:?}");
    }
}

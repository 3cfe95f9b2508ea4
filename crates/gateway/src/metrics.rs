//! What a gateway counts. Labels come from closed sets: dialects, commands, codes; never a channel or a user.

mod limits;

pub use limits::{Limit, Limits};

use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use protocol::{CloseCode, ErrorCode};
use std::time::Duration;

/// Seconds, from a quarter of a millisecond to four seconds.
const LATENCY_BUCKETS: &[f64] =
    &[0.000_25, 0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 2.0, 4.0];

/// What becomes of clients that do not keep up; the first ends them, the others let go of publications.
pub const SLOW_POLICIES: [&str; 3] = ["close", "drop_oldest", "latest"];

/// Why clients count as slow.
pub const SLOW_REASONS: [&str; 4] = ["bound", "budget", "stalled", "behind"];

/// Whether a client could go on where it had been.
const RECOVERY_OUTCOMES: [&str; 2] = ["recovered", "not_recovered"];

/// Whether compression that was offered could be agreed upon.
const DEFLATE_OUTCOMES: [&str; 2] = ["agreed", "declined"];

/// Before and after something was done to bytes.
const MOMENTS: [&str; 2] = ["before", "after"];

/// Why streams never come to speak HTTP.
pub const ARRIVAL_FAILURES: [&str; 6] =
    ["late", "proxy_stranger", "proxy_header", "tls_handshake", "tls_missing", "gone"];

/// Counters of one node.
#[derive(Debug)]
pub struct Metrics {
    /// 1 while the node may take traffic.
    pub ready: IntGauge,
    /// Open connections by dialect.
    pub connections: IntGaugeVec,
    /// How many there may be: what is configured, or what open files allow.
    pub connections_max: IntGauge,
    /// Streams closed without a word: more than can be refused at a time.
    pub streams_dropped: IntCounter,
    /// Times that no stream could be accepted for lack of descriptors or memory.
    pub accept_failures: IntCounter,
    /// Connections ever taken over, by dialect.
    pub connections_opened: IntCounterVec,
    /// Connections ended, by close code.
    pub closes: IntCounterVec,
    /// 1 while the node is drained or stops.
    pub draining: IntGauge,
    /// How often connections were sent away, by occasion.
    pub sheds: IntCounterVec,
    /// Connections closed by that, by occasion.
    pub shed_connections: IntCounterVec,
    /// Connections that have yet to go.
    pub shed_left: IntGauge,
    /// Streams that never came to speak HTTP, by reason.
    pub arrival_failures: IntCounterVec,
    /// Looks at the files of a certificate that found another one, by outcome.
    pub tls_reloads: IntCounterVec,
    /// When the certificate ends, in seconds since 1970; 0 without TLS.
    pub tls_certificate_ends: IntGauge,
    /// HTTP requests refused before an upgrade, by status.
    pub http_refusals: IntCounterVec,
    /// Requests of clients by plain HTTP, by route and status.
    pub http_requests: IntCounterVec,
    /// Handshakes refused because too many came at once.
    pub admission_refusals: IntCounter,
    /// How many handshakes may be completed at this moment, when it is asked for.
    pub admission_free: IntGauge,
    /// Tokens looked at, by outcome; one whose key is fetched first is looked at twice.
    pub tokens: IntCounterVec,
    /// Questions to the application, by hook and outcome.
    pub hooks: IntCounterVec,
    /// How long clients waited for an answer to one, or for the lack of it.
    pub hook_seconds: HistogramVec,
    /// Events for the application, by what became of them.
    pub webhook_events: IntCounterVec,
    /// Batches of those, by outcome of each attempt.
    pub webhook_batches: IntCounterVec,
    /// Events that wait to be told.
    pub webhook_waiting: IntGauge,
    /// Fetches of the issuer's keys, by outcome.
    pub key_fetches: IntCounterVec,
    /// The issuer's keys that are there.
    pub published_keys: IntGauge,
    /// Commands by type and outcome (`ok` or an error code).
    pub commands: IntCounterVec,
    /// Publications taken from clients.
    pub publications_in: IntCounter,
    /// Publications put into clients' outboxes.
    pub deliveries: IntCounter,
    /// Bytes read from clients' sockets.
    pub bytes_in: IntCounter,
    /// Bytes written to clients' sockets.
    pub bytes_out: IntCounter,
    /// Handshakes that offered compression, by whether it was agreed upon.
    pub deflate_handshakes: IntCounterVec,
    /// Messages compressed: each once, however many connections it goes to.
    pub deflated_messages: IntCounter,
    /// Their bytes, before and after.
    pub deflated_bytes: IntCounterVec,
    /// Messages of clients that came compressed.
    pub inflated_messages: IntCounter,
    /// Their bytes, before and after.
    pub inflated_bytes: IntCounterVec,
    /// Write calls on clients' sockets.
    pub writes: IntCounter,
    /// From a publish command to its answer.
    pub publish_seconds: Histogram,
    /// From the arrival of publications on this node to the last write of their turn.
    pub fanout_seconds: Histogram,
    /// From the publisher's node (by its clock) to the last write of their turn on this one.
    pub delivery_seconds: Histogram,
    /// How long the halves of turns take: taking mail (`take`), publishing and writing (`end`).
    pub turn_seconds: HistogramVec,
    /// How long deliveries wait to leave with others at present, by worker.
    pub flush_tick_seconds: GaugeVec,
    /// Bytes that wait in outboxes.
    pub outbox_bytes: IntGauge,
    /// Connections that did not keep up, by what their channels' policy made of it; closed ones count under `close`.
    pub slow_consumers: IntCounterVec,
    /// The same by reason.
    pub slow_consumer_reasons: IntCounterVec,
    /// Publications that connections did without, by policy; each was told as a gap where it had an offset.
    pub dropped_publications: IntCounterVec,
    /// What clients make this node hold: outboxes, waiting commands, half messages.
    pub budget_used_bytes: IntGauge,
    /// What they may.
    pub budget_limit_bytes: IntGauge,
    /// Deliveries that did not fit a worker's inbox.
    pub inbox_overflows: IntCounter,
    /// Gaps told to subscribers, one a channel and worker.
    pub gaps: IntCounter,
    /// Subscriptions of this node's connections.
    pub subscriptions: IntGauge,
    /// Channels this node is subscribed to.
    pub channels: IntGauge,
    /// Readings of the log for clients that recover: one a channel and storm, not one a client.
    pub recovery_reads: IntCounter,
    /// Readings of channels' states for those who subscribe: one a channel and storm, none where there is no state.
    pub state_reads: IntCounter,
    /// Subscriptions with a position, by outcome.
    pub recoveries: IntCounterVec,
    /// Messages that could not be understood.
    pub bad_messages: IntCounter,
    /// Requests of the server API, by route (`none`: no such path) and status.
    pub api_requests: IntCounterVec,
    /// From a request's head to its answer, by route.
    pub api_seconds: HistogramVec,
    /// Publications of backends, by outcome (`ok` or a code).
    pub api_publications: IntCounterVec,
    /// Polls of clients that wait for something to be answered with.
    pub polls_waiting: IntGauge,
    /// Nodes that did not answer where a user is.
    pub locate_unanswered: IntCounter,
    /// Socket.IO clients that asked to go on where they had been, by outcome.
    pub session_recoveries: IntCounterVec,
    /// How often limits were reached, by limit.
    pub limits: Limits,
}

impl Metrics {
    /// Registers everything.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let r = Register(registry);
        Ok(Self {
            ready: r.gauge("ready", "1 while the node may take traffic")?,
            connections: r.gauges("connections", "Open connections", &["dialect"])?,
            connections_max: r.gauge("connections_max", "Connections that this node takes at most")?,
            streams_dropped: r.counter("streams_dropped_total", "Streams closed without a word: too many at once")?,
            accept_failures: r.counter("accept_failures_total", "Failures to accept: no descriptors or memory")?,
            connections_opened: r.counters("connections_opened_total", "Connections taken over", &["dialect"])?,
            closes: r.counters("closes_total", "Connections ended, by close code", &["code"])?,
            draining: r.gauge("draining", "1 while the node is drained or stops")?,
            sheds: r.counters("sheds_total", "Times that connections were sent away, by occasion", &["occasion"])?,
            shed_connections: r.counters("shed_connections_total", "Connections sent away", &["occasion"])?,
            shed_left: r.gauge("shed_left", "Connections that are being sent away and have yet to go")?,
            arrival_failures: r.counters_of(
                "arrival_failures_total",
                "Streams that never came to speak HTTP, by reason",
                "reason",
                &ARRIVAL_FAILURES,
            )?,
            tls_reloads: r.counters_of(
                "tls_reloads_total",
                "Changed certificates",
                "outcome",
                &["loaded", "failed"],
            )?,
            tls_certificate_ends: r.gauge("tls_certificate_ends_seconds", "End of the certificate, since 1970")?,
            http_refusals: r.counters("http_refusals_total", "HTTP requests refused, by status", &["status"])?,
            http_requests: r.counters("http_requests_total", "Clients' plain HTTP requests", &["route", "status"])?,
            admission_refusals: r.counter("admission_refusals_total", "Handshakes refused: too many at once")?,
            admission_free: r.gauge("admission_free", "Handshakes that may be completed at this moment")?,
            tokens: r.counters("tokens_total", "Tokens looked at, by outcome", &["outcome"])?,
            hooks: r.counters("hooks_total", "Questions to the application, by outcome", &["hook", "outcome"])?,
            hook_seconds: r.histograms("hook_seconds", "How long clients waited for the application", &["hook"])?,
            webhook_events: r.counters_of(
                "webhook_events_total",
                "Events for the application, by what became of them",
                "outcome",
                &["sent", "missed"],
            )?,
            webhook_batches: r.counters_of(
                "webhook_batches_total",
                "Attempts to tell the application of events, by outcome",
                "outcome",
                &crate::webhooks::OUTCOMES,
            )?,
            webhook_waiting: r.gauge("webhook_waiting_events", "Events that wait to be told")?,
            key_fetches: r.counters("key_fetches_total", "Fetches of the issuer's keys, by outcome", &["outcome"])?,
            published_keys: r.gauge("published_keys", "Keys of the issuer that are there")?,
            commands: r.counters("commands_total", "Commands by type and outcome", &["type", "outcome"])?,
            publications_in: r.counter("publications_in_total", "Publications taken from clients")?,
            deliveries: r.counter("deliveries_total", "Publications handed to clients' sockets")?,
            bytes_in: r.counter("bytes_in_total", "Bytes read from clients")?,
            bytes_out: r.counter("bytes_out_total", "Bytes written to clients")?,
            deflate_handshakes: r.counters_of(
                "deflate_handshakes_total",
                "Handshakes that offered compression",
                "outcome",
                &DEFLATE_OUTCOMES,
            )?,
            deflated_messages: r
                .counter("deflated_messages_total", "Messages compressed, once for all whom they go to")?,
            deflated_bytes: r.counters_of(
                "deflated_bytes_total",
                "Bytes of messages, before and after they were compressed",
                "moment",
                &MOMENTS,
            )?,
            inflated_messages: r.counter("inflated_messages_total", "Compressed messages of clients")?,
            inflated_bytes: r.counters_of(
                "inflated_bytes_total",
                "Bytes of clients' compressed messages, before and after they were inflated",
                "moment",
                &MOMENTS,
            )?,
            writes: r.counter("socket_writes_total", "Write calls on clients' sockets")?,
            publish_seconds: r.histogram("publish_seconds", "From a publish command to its answer")?,
            fanout_seconds: r.histogram("fanout_seconds", "From arrival on this node to the turn's last write")?,
            delivery_seconds: r
                .histogram("delivery_seconds", "From the publisher's node to the turn's last write here")?,
            turn_seconds: r.histograms("turn_seconds", "How long the halves of a worker's turns take", &["half"])?,
            flush_tick_seconds: r.put(GaugeVec::new(
                Opts::new("flush_tick_seconds", "How long deliveries wait at present to leave with others"),
                &["worker"],
            )?)?,
            outbox_bytes: r.gauge("outbox_bytes", "Bytes waiting for clients that read slowly")?,
            slow_consumers: r.counters_of(
                "slow_consumers_total",
                "Connections that did not keep up, by policy",
                "policy",
                &SLOW_POLICIES,
            )?,
            slow_consumer_reasons: r.counters_of(
                "slow_consumer_reasons_total",
                "Connections that did not keep up, by reason",
                "reason",
                &SLOW_REASONS,
            )?,
            dropped_publications: r.counters_of(
                "dropped_publications_total",
                "Publications that slow connections did without, by policy",
                "policy",
                &SLOW_POLICIES[1..],
            )?,
            budget_used_bytes: r.gauge("budget_used_bytes", "What clients make this node hold")?,
            budget_limit_bytes: r.gauge("budget_limit_bytes", "What clients may make this node hold")?,
            inbox_overflows: r.counter("inbox_overflows_total", "Deliveries that did not fit a worker's inbox")?,
            gaps: r.counter("gaps_total", "Gaps told to subscribers, one a channel and worker")?,
            subscriptions: r.gauge("subscriptions", "Subscriptions of this node's connections")?,
            channels: r.gauge("channels", "Channels this node is subscribed to")?,
            recovery_reads: r.counter("recovery_reads_total", "Readings of the log for clients that recover")?,
            state_reads: r.counter("state_reads_total", "Readings of channels' states for clients that subscribe")?,
            recoveries: r.counters("recoveries_total", "Subscriptions with a position, by outcome", &["outcome"])?,
            bad_messages: r.counter("bad_messages_total", "Messages that could not be understood")?,
            api_requests: r.counters("api_requests_total", "Requests of the server API", &["route", "status"])?,
            api_seconds: r.histograms(
                "api_request_seconds",
                "From a server API's request to its answer",
                &["route"],
            )?,
            api_publications: r.counters("api_publications_total", "Publications of backends", &["outcome"])?,
            polls_waiting: r.gauge("polls_waiting", "Polls of clients that wait for an answer")?,
            locate_unanswered: r
                .counter("locate_unanswered_total", "Nodes that did not tell in time where a user is")?,
            session_recoveries: r.counters_of(
                "session_recoveries_total",
                "Socket.IO clients that asked to go on where they had been",
                "outcome",
                &RECOVERY_OUTCOMES,
            )?,
            limits: Limits::new(r.counters("limits_total", "Times that a limit was reached, by limit", &["limit"])?),
        })
    }

    /// Tells how long deliveries of a worker wait at present.
    pub fn flush_tick(&self, worker: usize, tick: Duration) {
        self.flush_tick_seconds.with_label_values(&[&worker.to_string()]).set(tick.as_secs_f64());
    }

    /// Counts a stream that never came to speak HTTP.
    pub fn arrival_failure(&self, reason: &'static str) {
        self.arrival_failures.with_label_values(&[reason]).inc();
    }

    /// Counts an ended connection.
    pub fn closed(&self, code: CloseCode) {
        self.closes.with_label_values(&[code.reason()]).inc();
    }

    /// Counts a Socket.IO client that asked to go on where it had been.
    pub fn session_recovered(&self, recovered: bool) {
        self.session_recoveries.with_label_values(&[RECOVERY_OUTCOMES[usize::from(!recovered)]]).inc();
    }

    /// Counts a handshake that offered compression.
    pub fn deflate_offered(&self, agreed: bool) {
        self.deflate_handshakes.with_label_values(&[DEFLATE_OUTCOMES[usize::from(!agreed)]]).inc();
    }

    /// Counts a connection that does not keep up.
    pub fn slow(&self, policy: &'static str, reason: &'static str) {
        self.slow_consumers.with_label_values(&[policy]).inc();
        self.slow_consumer_reasons.with_label_values(&[reason]).inc();
    }

    /// Counts a refused command.
    pub fn refused(&self, command: &str, code: ErrorCode) {
        self.commands.with_label_values(&[command, code.as_str()]).inc();
    }

    /// Counts a command that was carried out.
    pub fn done(&self, command: &str) {
        self.commands.with_label_values(&[command, "ok"]).inc();
    }
}

struct Register<'a>(&'a Registry);

impl Register<'_> {
    fn put<C: prometheus::core::Collector + Clone + 'static>(&self, collector: C) -> prometheus::Result<C> {
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.put(IntCounter::new(name, help)?)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
        self.put(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    /// One for each value of its label, from the first moment on: alerts ask for a rate of what has not happened yet.
    fn counters_of(&self, name: &str, help: &str, label: &str, values: &[&str]) -> prometheus::Result<IntCounterVec> {
        let counters = self.counters(name, help, &[label])?;
        values.iter().for_each(|value| drop(counters.with_label_values(&[*value])));
        Ok(counters)
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.put(IntGauge::new(name, help)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        self.put(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<HistogramVec> {
        let options = HistogramOpts::new(name, help).buckets(LATENCY_BUCKETS.to_vec());
        self.put(HistogramVec::new(options, labels)?)
    }

    fn histogram(&self, name: &str, help: &str) -> prometheus::Result<Histogram> {
        self.put(Histogram::with_opts(HistogramOpts::new(name, help).buckets(LATENCY_BUCKETS.to_vec()))?)
    }
}

//! The one table of routes: the router and the document are both made from it.

use super::endpoint::Route;
use super::{channels, connections, dismissals, history, nodes, openapi, presence, publish};
use http::Method;
use std::sync::LazyLock;

/// What every path begins with.
pub(super) const PREFIX: &str = "/api/v1/";

static ROUTES: LazyLock<Vec<Route>> = LazyLock::new(|| {
    vec![
        Route::of::<publish::Publish>(),
        Route::of::<publish::Broadcast>(),
        Route::of::<publish::Batch>(),
        Route::of::<presence::Presence>(),
        Route::of::<history::History>(),
        Route::of::<channels::Channels>(),
        Route::of::<connections::Connections>(),
        Route::of::<nodes::Counts>(),
        Route::of::<nodes::Nodes>(),
        Route::of::<dismissals::Disconnect>(),
        Route::of::<dismissals::Revoke>(),
        Route::of::<dismissals::Revocations>(),
        Route::of::<openapi::Document>(),
    ]
});

/// All of them.
pub(super) fn all() -> &'static [Route] {
    &ROUTES
}

/// What a request leads to.
pub(super) enum Found {
    /// An endpoint.
    Route(&'static Route),
    /// A path that is there for this method only.
    OtherMethod(Method),
    /// No such path.
    Nothing,
}

/// Finds what a request is for. HEAD is a GET whose body is not sent.
pub(super) fn find(method: &Method, path: &str) -> Found {
    let Some(route) = path.strip_prefix(PREFIX).and_then(|path| all().iter().find(|route| route.path == path)) else {
        return Found::Nothing;
    };
    let is_asked = route.method == *method || (route.method == Method::GET && *method == Method::HEAD);
    if is_asked { Found::Route(route) } else { Found::OtherMethod(route.method.clone()) }
}

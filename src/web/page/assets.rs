//! Style, script and icon, under names that change with what is in them, so that browsers may keep them for ever.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use sha2::{Digest as _, Sha256};

use super::render;

struct Asset {
    address: String,
    kind: &'static str,
    text: &'static str,
}

impl Asset {
    fn new(name: &str, ending: &str, kind: &'static str, text: &'static str) -> Self {
        let digest = hex::encode(&Sha256::digest(text.as_bytes())[..8]);
        Self { address: format!("/assets/{name}-{digest}.{ending}"), kind, text }
    }
}

static STYLE: LazyLock<Asset> = LazyLock::new(|| Asset::new("page", "css", "text/css; charset=utf-8", include_str!("page.css")));
static SCRIPT: LazyLock<Asset> = LazyLock::new(|| Asset::new("page", "js", "text/javascript; charset=utf-8", include_str!("page.js")));
static ICON: LazyLock<Asset> = LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_str!("icon.svg")));

/// Where the style is.
pub(super) fn style() -> &'static str {
    &STYLE.address
}

/// Where the script is.
pub(super) fn script() -> &'static str {
    &SCRIPT.address
}

/// Where the icon is.
pub(super) fn icon() -> &'static str {
    &ICON.address
}

/// `GET /assets/{name}`
pub(super) async fn asset(Path(name): Path<String>) -> Response {
    let wanted = format!("/assets/{name}");
    match [&*STYLE, &*SCRIPT, &*ICON].into_iter().find(|asset| asset.address == wanted) {
        Some(asset) => {
            ([(header::CONTENT_TYPE, asset.kind), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")], asset.text).into_response()
        }
        None => render::plain(StatusCode::NOT_FOUND, "There is no such file; reload the page."),
    }
}

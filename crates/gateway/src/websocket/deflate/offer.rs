//! What clients offer in `Sec-WebSocket-Extensions`, and what is answered (RFC 7692 sections 5 and 7.1).

use super::Window;

/// The extension's name.
const NAME: &str = "permessage-deflate";

/// The answer: neither side's messages refer to earlier ones, whether the client has offered that or not.
const WHOLE: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// The same to those who asked for a smaller window: any up to theirs may be answered, so it is always the same.
const LEAST: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9";

/// The first of a client's offers that can be served, and the answer to it. One with an unknown parameter, or a known one that
/// is wrong or there twice, is passed over as if it had not been made.
pub fn agreed<'a>(headers: impl Iterator<Item = &'a str>) -> Option<(Window, &'static str)> {
    let window = headers.flat_map(|header| header.split(',')).find_map(window)?;
    Some((window, if window == Window::Whole { WHOLE } else { LEAST }))
}

/// The window that an offer asks for, if the offer can be served.
fn window(offer: &str) -> Option<Window> {
    let mut words = offer.split(';').map(str::trim);
    if words.next() != Some(NAME) {
        return None;
    }
    let (mut window, mut seen) = (Window::Whole, [false; 4]);
    for word in words {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name.trim(), Some(unquoted(value.trim()))),
            None => (word, None),
        };
        let number = match (name, value) {
            ("server_no_context_takeover", None) => 0,
            ("client_no_context_takeover", None) => 1,
            ("server_max_window_bits", Some(value)) => {
                // 8 is a window of 256 bytes, which zlib does not have.
                window = match bits(value)? {
                    15 => Window::Whole,
                    9..15 => Window::Least,
                    _ => return None,
                };
                2
            }
            // A hint of what the client could do with: whatever window it takes is inflated.
            ("client_max_window_bits", None) => 3,
            ("client_max_window_bits", Some(value)) => bits(value).map(|_| 3)?,
            _ => return None,
        };
        if std::mem::replace(&mut seen[number], true) {
            return None;
        }
    }
    Some(window)
}

/// A value may also be written as a quoted string (RFC 6455 section 9.1).
fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

/// 8 to 15, without leading zeros.
fn bits(value: &str) -> Option<u8> {
    let bits = value.parse().ok().filter(|bits| (8..=15).contains(bits))?;
    // `parse` also takes a sign.
    (value.len() == if bits < 10 { 1 } else { 2 } && !value.starts_with('+')).then_some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_offer_has_its_answer() {
        let golden = include_str!("offers.txt");
        for case in golden.split("\n\n").filter(|case| !case.trim().is_empty()) {
            let (offers, answers): (Vec<_>, Vec<_>) =
                case.lines().filter(|line| !line.starts_with('#')).partition(|line| line.starts_with("< "));
            let answer = agreed(offers.iter().map(|offer| &offer[2..])).map(|(_, answer)| answer);
            assert_eq!(answers, [format!("> {}", answer.unwrap_or("nothing"))], "{case}");
        }
    }

    #[test]
    fn an_answer_promises_the_window_that_is_kept_to() {
        for (window, answer) in ["", "; server_max_window_bits=15", "; server_max_window_bits=11"]
            .iter()
            .filter_map(|asked| agreed([format!("{NAME}{asked}").as_str()].into_iter()))
        {
            let promised = answer.split_once("server_max_window_bits=").map_or("15", |(_, bits)| bits);
            assert_eq!(promised, window.bits().to_string());
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_offered_nothing_panics_and_no_smaller_window_is_passed_over(
            words in proptest::collection::vec(
                "(permessage-deflate|server_no_context_takeover|client_max_window_bits|server_max_window_bits|[;,=\" ]|[0-9]{1,3}|\\PC)",
                0..12,
            )
        ) {
            let header = words.concat();
            if let Some((Window::Whole, _)) = agreed(std::iter::once(header.as_str())) {
                let served = header.split(',').find(|offer| window(offer).is_some()).unwrap_or_default();
                let asks = served.split_once("server_max_window_bits");
                proptest::prop_assert!(asks.is_none_or(|(_, rest)| rest.contains("15")), "{}", header);
            }
        }
    }
}

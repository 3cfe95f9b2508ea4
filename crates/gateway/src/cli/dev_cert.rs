//! `gateway dev-cert`: a certificate to develop with, and how it is used.

use super::output;
use gateway::tls::develop::Developed;
use std::path::Path;
use std::process::ExitCode;

/// What a machine is reached by from itself.
const OWN_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Writes the pair, and says what to do with it.
pub(crate) fn run(directory: &Path, names: &[String]) -> ExitCode {
    let mut names = names.to_vec();
    if names.is_empty() {
        names = OWN_NAMES.map(str::to_owned).to_vec();
    }
    let written = Developed::new(&names).and_then(|developed| {
        developed.write(directory).map_err(|(path, error)| format!("cannot write {}: {error}", path.display()))
    });
    match written {
        Ok((cert, key)) => {
            let (cert, key) = (cert.display(), key.display());
            let text = format!(
                "a certificate for {}, for development, valid for one year:\n  {cert}\n  {key}  (readable by you alone)\n\n\
                 serve with it   gateway --set tls.cert={cert} --set tls.key={key}\n\
                 or              GW_TLS__CERT={cert} GW_TLS__KEY={key} gateway\n\
                 try it          curl --cacert {cert} https://{}:8080/\n\n\
                 It is signed by itself: browsers warn until it is imported as an authority. Not for production.\n",
                names.join(", "),
                bracketed(&names[0])
            );
            output::say(&text, ExitCode::SUCCESS)
        }
        Err(fault) => {
            output::complain(&fault);
            ExitCode::FAILURE
        }
    }
}

fn bracketed(name: &str) -> String {
    if name.contains(':') { format!("[{name}]") } else { name.to_owned() }
}

//! Drives BIRD: a file with a `stubnet` for each service, which BIRD's configuration includes in an area, and `configure` on its
//! control socket.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use super::driven::{Drive, DriverError, Routes};
use crate::config::ospf::Bird as Options;

/// How long BIRD may take to read its configuration.
const LIMIT: Duration = Duration::from_secs(5);

/// The driver.
pub(super) struct Bird {
    options: Options,
    told: Option<Routes>,
}

impl Bird {
    pub(super) fn new(options: &Options) -> Self {
        Self { options: options.clone(), told: None }
    }

    fn failed(operation: String, why: impl ToString) -> DriverError {
        DriverError { driver: Self::NAME, operation, why: why.to_string() }
    }

    /// Replaces the file: BIRD never reads half of one.
    fn write(&self, routes: &Routes) -> io::Result<()> {
        let mut beside: PathBuf = self.options.include.clone();
        beside.as_mut_os_string().push(".new");
        std::fs::write(&beside, text(routes))?;
        std::fs::rename(&beside, &self.options.include)
    }

    async fn configure(&self) -> io::Result<()> {
        let stream = UnixStream::connect(&self.options.control_socket).await?;
        let mut stream = BufReader::new(stream);
        reply(&mut stream).await?;
        stream.write_all(b"configure\n").await?;
        reply(&mut stream).await
    }
}

/// The file.
fn text(routes: &Routes) -> String {
    let mut text =
        "# Written by anycast; included in an area of BIRD's protocol ospf v3. Changes are lost.\n"
            .to_owned();
    for (address, metric) in routes {
        // Writing into a string does not fail.
        let _ = writeln!(text, "stubnet {address}/128 {{ cost {metric}; }};");
    }
    text
}

/// Reads a reply to its last line: a code of four digits and a space, where others have a hyphen. Codes from 8000 on are errors.
async fn reply(stream: &mut BufReader<UnixStream>) -> io::Result<()> {
    let mut said = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("it hung up: {}", said.trim())));
        }
        let code = line.get(..4).and_then(|code| code.parse::<u16>().ok());
        said.push_str(line.get(5..).unwrap_or(&line));
        match (code, line.as_bytes().get(4)) {
            (Some(8000..), Some(b' ')) => return Err(io::Error::other(said.trim().replace('\n', "; "))),
            (Some(_), Some(b' ')) => return Ok(()),
            _ => {}
        }
    }
}

impl Drive for Bird {
    const NAME: &'static str = "bird";

    async fn apply(&mut self, routes: &Routes) -> Result<(), DriverError> {
        if self.told.as_ref() == Some(routes) {
            return Ok(());
        }
        self.told = None;
        let include = self.options.include.display();
        self.write(routes)
            .map_err(|error| Self::failed(format!("write {include} (ospf.bird.include)"), error))?;
        let socket = self.options.control_socket.display();
        let done = tokio::time::timeout(LIMIT, self.configure()).await;
        let operation = || format!("have BIRD read its configuration by {socket} (ospf.bird.control_socket)");
        done.map_err(|_elapsed| Self::failed(operation(), format!("no answer within {LIMIT:?}")))?
            .map_err(|error| Self::failed(operation(), error))?;
        self.told = Some(routes.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_a_line_for_each_service() {
        let routes =
            Routes::from([("2001:db8::53".parse().unwrap(), 10), ("2001:db8::54".parse().unwrap(), 65_535)]);
        let text = text(&routes);
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected =
            ["stubnet 2001:db8::53/128 { cost 10; };", "stubnet 2001:db8::54/128 { cost 65535; };"];
        assert_eq!(lines, expected);
    }

    #[tokio::test]
    async fn replies_end_with_a_space_behind_the_code() {
        for (said, error) in [
            ("0001 BIRD 2.0.12 ready.\n", None),
            ("0002-Reading configuration from bird.conf\n0003 Reconfigured\n", None),
            (
                "0002-Reading configuration from bird.conf\n8002 bird.conf:7:1 syntax error\n",
                Some("syntax error"),
            ),
            ("0002-Reading", Some("it hung up")),
        ] {
            let (here, mut there) = UnixStream::pair().unwrap();
            there.write_all(said.as_bytes()).await.unwrap();
            drop(there);
            let result = reply(&mut BufReader::new(here)).await;
            match error {
                None => result.unwrap(),
                Some(text) => assert!(result.unwrap_err().to_string().contains(text), "{said}"),
            }
        }
    }
}

//! What the tests of this crate run beside themselves: the monitor of their containers, and inside the containers a
//! small server and client.

#![expect(clippy::print_stdout, reason = "a program that answers on its output")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["serve", port, text] => serve(port, text),
        ["get", host, port] => get(host, port),
        _ => return containers::monitor_main(args),
    }
    .map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

/// Answers every request with the text.
fn serve(port: &str, text: &str) -> std::io::Result<()> {
    let port: u16 = port.parse().map_err(std::io::Error::other)?;
    let listener = TcpListener::bind(("0.0.0.0", port))?;
    println!("serving {text}");
    for stream in listener.incoming() {
        let mut stream = stream?;
        let head = BufReader::new(stream.try_clone()?).lines();
        let _ = head.take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty())).count();
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
            text.len()
        );
    }
    Ok(())
}

/// Prints what a server answers.
fn get(host: &str, port: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect((host, port.parse::<u16>().map_err(std::io::Error::other)?))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    println!("{}", answer.split("\r\n\r\n").nth(1).unwrap_or_default());
    Ok(())
}

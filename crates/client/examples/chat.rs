//! A chat in a terminal: what you type is published, and what others type is shown.
//!
//! `cargo run -p client --example chat -- ws://localhost:8080/ws lobby`

use client::{Channel, Client, Config, Event, PublishOptions, SubscribeOptions, Token};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_env_filter("client=info").with_writer(std::io::stderr).init();
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(channel)) = (arguments.next(), arguments.next()) else {
        return Err("usage: chat <url> <channel> [token]".into());
    };
    let channel = Channel::new(&channel)?;
    let mut config = Config::new([url]);
    config.token = arguments.next().map(Token::fixed);
    let client = Client::connect(config)?;
    let mut subscription = client.subscribe(&channel, SubscribeOptions::default()).await?;
    let mut lines = BufReader::new(stdin()).lines();
    loop {
        tokio::select! {
            line = lines.next_line() => match line? {
                // In a task of its own, so that reading goes on.
                Some(line) => drop(tokio::spawn(publish(client.clone(), channel.clone(), line))),
                None => break,
            },
            event = subscription.next() => match event {
                Some(event) => show(&event),
                None => break,
            },
        }
    }
    client.close().await;
    Ok(())
}

async fn publish(client: Client, channel: Channel, line: String) {
    if let Err(error) = client.publish(&channel, &line, PublishOptions::keyed()).await {
        println!("-- not published: {error}");
    }
}

fn show(event: &Event) {
    match event {
        Event::Publication(publication) => {
            let who = publication.from.as_ref().map(|from| from.user.as_ref().unwrap_or(&from.client).as_str());
            match publication.data.parse::<String>() {
                Ok(text) => println!("{}: {text}", who.unwrap_or("the backend")),
                Err(_) => println!("{}: {:?}", who.unwrap_or("the backend"), publication.data),
            }
        }
        Event::Subscribed { recovered: true, .. } => println!("-- back, and nothing was missed"),
        Event::Subscribed { .. } => println!("-- subscribed"),
        Event::Gap(gap) => println!("-- something was missed: {:?}", gap.range),
        Event::Unsubscribed(refusal) => println!("-- the gateway ended it: {refusal}"),
        Event::Join { member } => println!("-- {} came", member.user),
        Event::Leave { member, .. } => println!("-- {} went", member.user),
        _ => {}
    }
}

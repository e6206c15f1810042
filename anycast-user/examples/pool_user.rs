//! Follows a pool and says which element it would use: `cargo run --example pool_user -- dns [2001:db8::1]:3863`.

use std::error::Error;

use anycast_pool::PoolHandle;
use anycast_user::pool::user::News;
use anycast_user::pool::{PoolUser, PoolUserOptions, RegistrarAddress};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let pool = PoolHandle::from(arguments.next().ok_or("name a pool, then registrars")?.as_str());
    let registrars = arguments.map(|text| text.parse()).collect::<Result<Vec<RegistrarAddress>, _>>()?;

    let user = PoolUser::connect(PoolUserOptions::new(registrars));
    let mut changes = user.changes();
    user.resolve(pool.clone()).await?;
    loop {
        match user.pick(pool.clone(), &[]) {
            Some(pick) => println!("use {} at {} ({})", pick.id, pick.transport, pick.tier.name()),
            None => println!("no element"),
        }
        // What was used would be told by `user.succeeded` and `user.failed`.
        match changes.next().await {
            Some(News::Change(change)) => println!("{change}"),
            Some(News::Registrar(text)) => println!("{text}"),
            Some(News::Missed(count)) => println!("{count} changes were missed"),
            None => return Ok(()),
        }
    }
}

//! The listening socket, the threads behind it, and how they stop.

use super::routes::router;
use super::server::Server;
use crate::progress::interrupt;
use axum::serve::ListenerExt;
use std::future::IntoFuture;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::timeout;

/// How long texts under way may take once the server is to stop.
const TO_FINISH: Duration = Duration::from_secs(10);
/// How long clients may then take to read what they are told.
const TO_READ: Duration = Duration::from_secs(2);
/// Threads that read requests.
const READERS: usize = 4;

/// Where to listen.
pub struct Address {
    /// The address.
    pub host: IpAddr,
    /// The port; 0 lets the system choose.
    pub port: u16,
    /// Told once it listens.
    pub listening: Box<dyn FnOnce(SocketAddr)>,
}

/// A server that cannot start or go on.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The address cannot be had.
    #[error("cannot listen on {address}")]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The system gives no more threads or sockets.
    #[error("cannot serve")]
    System(#[from] io::Error),
    /// The thread that owns the model broke.
    #[error("the thread that runs the model ended by itself")]
    Model,
}

/// Serves until the program is asked to stop; `engine` answers what waits, on a thread of its own, until there is no more.
pub(super) fn run(
    server: Server,
    address: Address,
    engine: impl FnOnce(&Server) + Send,
) -> Result<(), ServeError> {
    let asked = SocketAddr::new(address.host, address.port);
    let listener = TcpListener::bind(asked).map_err(|source| ServeError::Listen {
        address: asked,
        source,
    })?;
    listener.set_nonblocking(true)?;
    let found = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(READERS)
        .build()?;
    let server = Arc::new(server);
    let (stop, stopping) = watch::channel(false);
    let by_signal = stop.clone();
    interrupt::stop_by(move || {
        by_signal.send_replace(true);
    });
    let engine_ended = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let _ended = Ended(&server, &stop);
            engine(&server);
        });
        (address.listening)(found);
        let served = runtime.block_on(listen(listener, &server, stopping));
        server.served.close();
        server.is_over.store(true, Ordering::Relaxed);
        let is_whole = thread.join().is_ok();
        served.map(|()| is_whole)
    })?;
    runtime.shutdown_timeout(TO_READ);
    if engine_ended {
        Ok(())
    } else {
        Err(ServeError::Model)
    }
}

/// However the thread of the model ends, nobody waits for it any more.
struct Ended<'s>(&'s Server, &'s watch::Sender<bool>);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.served.close();
        self.1.send_replace(true);
    }
}

/// Answers until `stopping` says so: then texts under way are finished, for a while.
async fn listen(
    listener: TcpListener,
    server: &Arc<Server>,
    mut stopping: watch::Receiver<bool>,
) -> Result<(), ServeError> {
    let listener = tokio::net::TcpListener::from_std(listener)?.tap_io(|stream| {
        // Pieces of a text are small, and not to be held back.
        let _ = stream.set_nodelay(true);
    });
    let mut until = stopping.clone();
    let serving = axum::serve(listener, router(Arc::clone(server)));
    let serving = serving.with_graceful_shutdown(async move {
        let _ = until.wait_for(|is_stopping| *is_stopping).await;
    });
    let mut serving = tokio::spawn(serving.into_future());
    let _ = stopping.wait_for(|is_stopping| *is_stopping).await;
    server.served.close();
    if timeout(TO_FINISH, &mut serving).await.is_err() {
        server.is_over.store(true, Ordering::Relaxed);
        // Whoever does not listen any more is left alone.
        let _ = timeout(TO_READ, serving).await;
    }
    Ok(())
}

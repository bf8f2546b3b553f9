//! A tokio runtime on a thread of its own, which ends when it is dropped.
//!
//! A server on the test's own runtime would stand still whenever the test blocks (waiting for a
//! child process, say) and would lose its timers to a paused clock. On its own thread it serves
//! any kind of test, and joining the thread on drop means that no socket outlives its server.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::thread::JoinHandle;

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

pub(crate) struct Background {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Starts the thread; `name` shows in debuggers and panics.
    pub(crate) fn start(name: &str) -> Self {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a tokio runtime can be made");
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                // Either a message or the sender's end says stop.
                runtime.block_on(stopped).ok();
            })
            .expect("a thread can be started");
        Self {
            handle,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Runs a future until it ends or the thread does.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(self.handle.spawn(future));
    }

    /// Binds a listener on a port of the kernel's choice, served by this thread.
    pub(crate) fn listen(&self, ip: IpAddr) -> (TcpListener, SocketAddr) {
        let listener = std::net::TcpListener::bind((ip, 0))
            .unwrap_or_else(|error| panic!("cannot listen on {ip}: {error}"));
        let address = listener
            .local_addr()
            .expect("a bound listener has an address");
        listener
            .set_nonblocking(true)
            .expect("a listener can be made non-blocking");
        let _guard = self.handle.enter();
        let listener = TcpListener::from_std(listener).expect("the runtime has an IO driver");
        (listener, address)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of a server task was already printed by the panic hook.
            thread.join().ok();
        }
    }
}

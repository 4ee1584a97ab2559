//! The last word of a connection whose peer still sends.

use super::*;

#[test]
fn who_goes_on_sending_after_the_last_word_is_read_for_a_while_only() {
    on_both(|driver| {
        let (sent, elapsed) = on_shard(driver, async || {
            let listener = Listener::adopt(bind(loopback(), false).unwrap()).unwrap();
            let addr = listener.local_addr();
            let writer = std::thread::spawn(move || {
                let (mut client, mut sent) = (client(addr), 0);
                while let Ok(n) = client.write(&[0; 64 * 1024]) {
                    sent += n;
                }
                sent
            });
            let (stream, _) = listener.accept().await.unwrap();
            let begun = Instant::now();
            linger(&stream, &Deadline::new()).await;
            let elapsed = begun.elapsed();
            drop(stream);
            (writer.join().unwrap(), elapsed)
        });
        // The sockets hold something beside it.
        assert!(sent < super::super::linger::BYTES_MAX + (16 << 20), "{sent} bytes in {elapsed:?}");
    });
}

#[test]
fn who_reads_the_last_word_gets_it_though_it_has_sent_much_that_nobody_read() {
    on_both(|driver| {
        on_shard(driver, async || {
            let listener = Listener::adopt(bind(loopback(), false).unwrap()).unwrap();
            let addr = listener.local_addr();
            let reader = std::thread::spawn(move || {
                let (mut client, mut word) = (client(addr), String::new());
                client.write_all(&[0; 4 << 20]).unwrap();
                client.read_to_string(&mut word).map(|_| word)
            });
            let (stream, _) = listener.accept().await.unwrap();
            write_all(&stream, b"enough").await.unwrap();
            linger(&stream, &Deadline::new()).await;
            drop(stream);
            assert_eq!(reader.join().unwrap().unwrap(), "enough");
        });
    });
}

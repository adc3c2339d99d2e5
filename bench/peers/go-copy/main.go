// A port forward with io.Copy in both directions, which Go turns into splice: what the kernel allows.
package main

import (
	"io"
	"log"
	"net"
	"os"
)

func main() {
	listener, err := net.Listen("tcp4", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	for {
		near, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go relay(near.(*net.TCPConn), os.Args[2])
	}
}

func relay(near *net.TCPConn, target string) {
	defer near.Close()
	dialled, err := net.Dial("tcp4", target)
	if err != nil {
		return
	}
	far := dialled.(*net.TCPConn)
	defer far.Close()
	over := make(chan struct{})
	go func() {
		pass(far, near)
		close(over)
	}()
	pass(near, far)
	<-over
}

func pass(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		return
	}
	to.CloseWrite()
}

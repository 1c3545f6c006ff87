"""How much faster several texts are written together than one: tokens a second of `quench serve`, once a client and eight.

    python tests/clients/throughput.py target/release/quench FOLDER [--clients 8] [--tokens 64] [--threads 2] [--compute int8]

Time of the processor is printed besides that of the clock: other programs of a machine take part of the clock only.
Prompts are left out of both: what two tokens take is taken off what many take.
"""

import argparse
import json
import os
import pathlib
import subprocess
import threading
import time
import urllib.request

PROMPT = "The history of the city of London begins with the Romans, who"


class Server:
    def __init__(self, quench, folder, threads, compute):
        words = [quench, "serve", folder, "--port", "0", "--json", "--quiet", "--threads", str(threads), "--compute", compute, "--parallel", "64"]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        text = ""
        while not text.endswith("}\n"):
            line = self.process.stdout.readline()
            if not line:
                raise SystemExit("the server did not start")
            text += line
        self.url = json.loads(text)["url"]

    def processor_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def complete(self, number, tokens, counts):
        body = {"prompt": f"{PROMPT} {number}", "max_tokens": tokens, "temperature": 0.8, "seed": number}
        request = urllib.request.Request(f"{self.url}/v1/completions", json.dumps(body).encode())
        with urllib.request.urlopen(request) as answer:
            counts.append(json.load(answer)["usage"]["completion_tokens"])

    def run(self, clients, tokens):
        """Tokens, seconds of the clock, seconds of the processor."""
        counts = []
        threads = [threading.Thread(target=self.complete, args=(number, tokens, counts)) for number in range(clients)]
        clock, processor = time.time(), self.processor_seconds()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(counts), time.time() - clock, self.processor_seconds() - processor

    def speeds(self, clients, tokens):
        """Tokens a second of the clock and of the processor."""
        short, long = self.run(clients, 2), self.run(clients, 2 + tokens)
        count = long[0] - short[0]
        return [count / max(b - a, 1e-9) for a, b in zip(short[1:], long[1:])]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("quench")
    parser.add_argument("folder")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compute", default="f32")
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    server = Server(asked.quench, asked.folder, asked.threads, asked.compute)
    try:
        server.run(1, 8)
        for _ in range(asked.runs):
            one = server.speeds(1, asked.tokens)
            many = server.speeds(asked.clients, asked.tokens)
            for kind, a, b in zip(["clock", "processor"], one, many):
                print(f"{kind}: {a:.1f} tokens a second alone, {b:.1f} with {asked.clients} clients: {b / a:.2f} x", flush=True)
    finally:
        server.process.terminate()
        server.process.wait()


if __name__ == "__main__":
    main()

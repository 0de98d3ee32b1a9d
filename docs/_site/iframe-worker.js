// The search runs in a worker. A page that is opened from a disk (file:) may not start one; it gets a hidden frame with
// the same script, which is spoken to in the same way.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(address) {
      super();
      this.waiting = [];
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.appendChild(frame);
      this.inside = frame.contentWindow;
      this.inside.answer = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      const page = this.inside.document;
      page.open();
      page.write("<!doctype html><script>window.postMessage = (data) => window.answer(data);</script>");
      page.close();
      const script = page.createElement("script");
      script.src = new URL(address, location.href);
      script.onload = () => { this.ready = true; this.waiting.splice(0).forEach((data) => this.deliver(data)); };
      page.body.appendChild(script);
    }
    deliver(data) { this.inside.dispatchEvent(new this.inside.MessageEvent("message", { data })); }
    postMessage(data) { if (this.ready) this.deliver(data); else this.waiting.push(data); }
    terminate() { this.inside.frameElement.remove(); }
  };
}

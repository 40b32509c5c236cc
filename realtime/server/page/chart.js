// A strip chart: the last minute of one figure, the newest at the right. Colours are the page's.
"use strict";

class Strip {
  /** `low` and `high` bound the scale; `good` is the band that is drawn behind the line. */
  constructor(canvas, low, high, good) {
    Object.assign(this, { canvas, low, high, good, values: [] });
  }

  /** Add a figure, or null where there is none now. Twice a second: 120 are a minute. */
  add(value) {
    this.values.push(value);
    if (this.values.length > 120) this.values.shift();
    if (!document.hidden) this.draw();
  }

  draw() {
    const scale = devicePixelRatio || 1, width = this.canvas.clientWidth, height = this.canvas.clientHeight;
    if (!width) return;
    this.canvas.width = width * scale;
    this.canvas.height = height * scale;
    const pen = this.canvas.getContext("2d"), colours = getComputedStyle(this.canvas);
    const y = (value) => height - 2 - (Math.min(this.high, Math.max(this.low, value)) - this.low) / (this.high - this.low) * (height - 4);
    pen.scale(scale, scale);
    pen.fillStyle = colours.getPropertyValue("--band");
    pen.fillRect(0, y(this.good[1]), width, y(this.good[0]) - y(this.good[1]));
    pen.strokeStyle = colours.getPropertyValue("--accent");
    pen.lineWidth = 1.6;
    pen.lineJoin = "round";
    pen.beginPath();
    let drawing = false;
    this.values.forEach((value, index) => {
      if (value === null) { drawing = false; return; }
      const x = width - (this.values.length - 1 - index) * width / 119;
      drawing ? pen.lineTo(x, y(value)) : pen.moveTo(x, y(value));
      drawing = true;
    });
    pen.stroke();
  }
}

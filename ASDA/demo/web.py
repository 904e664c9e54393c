"""The page of `asda-demo`: play a clip to one checkpoint or to several side by side. The only file with gradio."""

from __future__ import annotations

import html
import os
import threading
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault(
    "GRADIO_ANALYTICS_ENABLED", "False"
)  # read when gradio loads: nothing of a user leaves for others

import gradio as gr
import numpy as np

from ..audio.errors import AudioError
from ..reports.attention_figures import maps_figure
from ..reports.figures import plt
from ..reports.timeline_figure import draw_timeline
from .listening import Heard, Listener

MOST_CLASSES = 5
THRESHOLD = 0.3
FONTS = ["system-ui", "sans-serif"]  # those of the user's machine; gradio's own come from a server


def build_page(listeners: Sequence[Listener], top_k: int = MOST_CLASSES, threshold: float = THRESHOLD) -> gr.Blocks:
    """The page, to be launched. Its one function can be called by the name `/listen`, as gradio_client does.

    Args:
        listeners: the checkpoints, a column for each.
        top_k: most classes of a clip.
        threshold: of the time line, until the reader changes it.
    """
    deepest = max(listener.num_layers for listener in listeners)
    with gr.Blocks(title="ASDA", analytics_enabled=False) as page:
        gr.Markdown("# What is to be heard?\nUpload a clip or record one, then *Listen*.")
        with gr.Row():
            audio = gr.Audio(sources=["upload", "microphone"], type="filepath", label="clip")
            with gr.Column():
                least = gr.Slider(0, 1, value=threshold, step=0.01, label="threshold of the time line")
                layer = gr.Slider(1, deepest, value=deepest, step=1, label="layer whose attention is shown")
                button = gr.Button("Listen", variant="primary")
        outputs: list[gr.components.Component] = []
        with gr.Row():
            for listener in listeners:
                with gr.Column(min_width=320):
                    gr.Markdown(f"### {listener.name}")
                    known = bool(listener.names)
                    outputs += [
                        gr.Label(num_top_classes=top_k, label="classes", visible=known),
                        gr.Plot(label="time line", show_label=False, visible=known),
                        gr.Plot(label="attention", show_label=False),
                    ]
                    if not known:
                        gr.Markdown("*Pre-trained: it has learned no classes.*")

        def listen(file: str | None, least: float, layer: float) -> list:
            if file is None:
                raise gr.Error("no clip: upload one, or record one")
            try:
                heard = [listener.listen(file, top_k, least) for listener in listeners]
            except AudioError as error:
                # The page takes a message for html, and a file may have any name.
                raise gr.Error(html.escape(f"{Path(file).name}: {error.reason}")) from error
            return [
                part
                for listener, found in zip(listeners, heard, strict=True)
                for part in _shown(listener, found, int(layer))
            ]

        button.click(listen, [audio, least, layer], outputs, api_name="listen")
    return page


def serve(page: gr.Blocks, host: str, port: int | None) -> str:
    """Serves the page to browsers, in threads of its own; gives its address.

    Args:
        page: what :func:`build_page` gives.
        host: the interface to listen at; 127.0.0.1 is this machine alone.
        port: its number; None for the first that is free from 7860 on.

    Raises:
        OSError: no such port is free.
    """
    _, address, _ = page.launch(
        server_name=host,
        server_port=port,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        show_error=True,
        theme=gr.themes.Default(font=FONTS, font_mono=["monospace"]),
    )
    return address


def wait(page: gr.Blocks) -> None:
    """Waits until the program is ended."""
    try:
        threading.Event().wait()
    finally:
        page.close(verbose=False)


def _shown(listener: Listener, heard: Heard, layer: int) -> tuple:
    """Classes, time line and attention, as the page's parts take them."""
    hz = listener.frequencies_hz.numpy()
    attention = _attention_figure(heard, min(layer, listener.num_layers), hz)
    if not listener.names:
        return None, None, attention
    stretches = [(event.label, event.start_s, event.end_s, event.score) for event in heard.events]
    frames = None if heard.frames is None else heard.frames.numpy()
    timeline = draw_timeline(stretches, heard.duration_s, frames, hz)
    plt.close(timeline)  # it can still be drawn, and is forgotten afterwards
    return {found.label: found.score for found in heard.predictions}, timeline, attention


def _attention_figure(heard: Heard, layer: int, frequencies_hz: np.ndarray) -> plt.Figure:
    """Maps of a layer and the rollout over all layers: what CLS attends to, or without one a mean over the patches."""
    clip = heard.attention
    query = 0 if clip.num_prefix_tokens else None
    pictures = {**clip.pictures(layer, query), "all layers": clip.picture(clip.rollout(), query)}
    figure = maps_figure(
        {f"layer {layer}": {name: of.numpy() for name, of in pictures.items()}},
        clip.spectrogram.numpy(),
        frequencies_hz,
    )
    plt.close(figure)
    return figure

"""Logs for TensorBoard, without TensorFlow."""

import pathlib

import keras


class EventFiles(keras.callbacks.Callback):
    """Writes the logs of each epoch for TensorBoard.

    `keras.callbacks.TensorBoard` needs TensorFlow on each backend. This
    callback writes only the values per epoch, with the same files and names:
    `train/` and `validation/`, `epoch_loss` and so on.

    Args:
        folder: folder of the files; created with its subfolders.

    Raises:
        ImportError: `tensorboard` is not installed.
    """

    def __init__(self, folder):
        super().__init__()
        try:
            from tensorboard.summary import Writer
        except ImportError as error:
            raise ImportError(
                "Logs for TensorBoard need the package tensorboard. Try: "
                'pip install "keras-remul[tensorboard]"'
            ) from error
        self._new_writer = Writer
        self._folder, self._writers = pathlib.Path(folder), {}

    def on_epoch_end(self, epoch, logs=None):
        for name, value in (logs or {}).items():
            part = "validation" if name.startswith("val_") else "train"
            if part not in self._writers:
                path = str(self._folder / part)
                self._writers[part] = self._new_writer(path)
            tag = f"epoch_{name.removeprefix('val_')}"
            self._writers[part].add_scalar(tag, value, epoch)
        for writer in self._writers.values():
            writer.flush()  # a run may be killed at any time

    def on_train_end(self, logs=None):
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

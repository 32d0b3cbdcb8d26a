"""What is in a `.tflite` file: its content as objects, and the process of its own in which it is run.

| module | what it holds |
|---|---|
| `content` | objects and bytes of a file, and the seal by which damage is seen |
| `running` | the interpreter, in a process of its own (`_child`) |
"""

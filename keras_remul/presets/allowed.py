"""The parts of Keras that a preset may name; all others are refused.

Keras creates any object that it exports when a configuration names it, also
functions that write files or open connections. So this list holds only objects
that do nothing but arithmetic on their arguments, by module and name as Keras
writes them. It is extended by hand, after reading the class. It leaves out
layers that call code or read files that their configuration names (Lambda,
TFSMLayer, TorchModuleWrapper, JaxLayer, FlaxLayer, the lookup layers),
operations that call a function given to them (Cond, Map, Scan, Switch,
WhileLoop ...), and operations that need no tensor (Arange, Full ...), since
these would run while the model is created.
"""


def _names(text):
    return frozenset(text.split())


CLASSES = {
    "keras": _names("DTypePolicy FloatDTypePolicy Sequential"),
    "keras.models": _names("Sequential"),
    "keras.src.models.functional": _names("Functional"),
    "keras.src.models.sequential": _names("Sequential"),
    "keras.dtype_policies": _names("DTypePolicy FloatDTypePolicy"),
    "keras.random": _names("SeedGenerator"),
    "keras.layers": _names(
        """
        Activation ActivityRegularization Add AdditiveAttention AlphaDropout
        Attention Average AveragePooling1D AveragePooling2D AveragePooling3D
        BatchNormalization Bidirectional Concatenate Conv1D Conv1DTranspose
        Conv2D Conv2DTranspose Conv3D Conv3DTranspose ConvLSTM1D ConvLSTM2D
        ConvLSTM3D Cropping1D Cropping2D Cropping3D Dense DepthwiseConv1D
        DepthwiseConv2D Dot Dropout ELU EinsumDense Embedding Flatten GRU
        GRUCell GaussianDropout GaussianNoise GlobalAveragePooling1D
        GlobalAveragePooling2D GlobalAveragePooling3D GlobalMaxPooling1D
        GlobalMaxPooling2D GlobalMaxPooling3D GroupNormalization
        GroupQueryAttention Identity InputLayer LSTM LSTMCell
        LayerNormalization LeakyReLU Masking MaxPooling1D MaxPooling2D
        MaxPooling3D Maximum Minimum MultiHeadAttention Multiply Normalization
        PReLU Permute RMSNormalization RNN ReLU RepeatVector Rescaling Reshape
        ReversibleEmbedding SeparableConv1D SeparableConv2D SimpleRNN
        SimpleRNNCell Softmax SpatialDropout1D SpatialDropout2D
        SpatialDropout3D SpectralNormalization StackedRNNCells Subtract
        TimeDistributed UnitNormalization UpSampling1D UpSampling2D
        UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
        """
    ),
    "keras.initializers": _names(
        """
        Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity
        LecunNormal LecunUniform Ones Orthogonal RandomNormal RandomUniform
        TruncatedNormal VarianceScaling Zeros
        """
    ),
    "keras.regularizers": _names("L1 L1L2 L2 OrthogonalRegularizer"),
    "keras.constraints": _names("MaxNorm MinMaxNorm NonNeg UnitNorm"),
    "keras.losses": _names(
        """
        BinaryCrossentropy BinaryFocalCrossentropy CategoricalCrossentropy
        CategoricalFocalCrossentropy CategoricalHinge CosineSimilarity Dice
        Hinge Huber KLDivergence LogCosh MeanAbsoluteError
        MeanAbsolutePercentageError MeanSquaredError
        MeanSquaredLogarithmicError Poisson SparseCategoricalCrossentropy
        SquaredHinge Tversky
        """
    ),
    "keras.optimizers.schedules": _names(
        """
        CosineDecay CosineDecayRestarts ExponentialDecay InverseTimeDecay
        PiecewiseConstantDecay PolynomialDecay
        """
    ),
    # Operations of a Functional model.
    "keras.src.ops.numpy": _names(
        """
        Abs Absolute Add All Amax Amin Any Arccos Arccosh Arcsin Arcsinh
        Arctan Arctan2 Arctanh Argmax Argmin Argsort Average BroadcastTo Cbrt
        Ceil Clip Concatenate Cos Cosh CountNonzero Cross Cumprod Cumsum
        Deg2rad Diag Diagonal Diff Divide DivideNoNan Dot Einsum Equal Exp
        Exp2 ExpandDims Expm1 Flip Floor FloorDivide GetItem Greater
        GreaterEqual Hstack Hypot Inner Isfinite Isinf Isnan Less LessEqual
        Log Log10 Log1p Log2 Logaddexp LogicalAnd LogicalNot LogicalOr
        LogicalXor Matmul Max Maximum Mean Median Min Minimum Mod Moveaxis
        Multiply NanToNum Negative NotEqual OnesLike Outer Pad Power Prod
        Rad2deg Ravel Reciprocal Repeat Reshape Roll Round Select Sign Sin
        Sinh Sort Split Sqrt Square Squeeze Stack Std Subtract Sum Swapaxes
        Take TakeAlongAxis Tan Tanh Tensordot Tile Trace Transpose Tril Triu
        TrueDivide Trunc Var Vdot Vstack Where ZerosLike
        """
    ),
    "keras.src.ops.nn": _names(
        """
        AveragePool Celu Conv ConvTranspose DepthwiseConv
        DotProductAttention Elu Gelu Glu HardShrink HardSigmoid HardSilu
        HardTanh LayerNorm LeakyRelu LogSigmoid LogSoftmax MaxPool Moments
        Normalize OneHot RMSNorm Relu Relu6 Selu SeparableConv Sigmoid Silu
        SoftShrink Softmax Softplus Softsign SparsePlus SparseSigmoid
        Sparsemax Squareplus TanhShrink Threshold
        """
    ),
    "keras.src.ops.math": _names(
        """
        CDist Erf Erfc Erfinv Logsumexp Rsqrt SegmentMax SegmentMin
        SegmentProd SegmentSum TopK
        """
    ),
    "keras.src.ops.core": _names("Cast StopGradient Unstack"),
    "keras.src.ops.linalg": _names(
        "Cholesky Det Eigh Inv Norm Qr SVD Solve SolveTriangular"
    ),
}

FUNCTIONS = {
    "keras.activations": _names(
        """
        celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu
        hard_swish hard_tanh leaky_relu linear log_sigmoid log_softmax mish
        relu relu6 selu sigmoid silu soft_shrink softmax softplus softsign
        sparse_plus sparse_sigmoid sparsemax squareplus swish tanh tanh_shrink
        threshold
        """
    ),
    "keras.losses": _names(
        """
        binary_crossentropy binary_focal_crossentropy categorical_crossentropy
        categorical_focal_crossentropy categorical_hinge cosine_similarity
        dice hinge huber kl_divergence log_cosh mean_absolute_error
        mean_absolute_percentage_error mean_squared_error
        mean_squared_logarithmic_error poisson sparse_categorical_crossentropy
        squared_hinge tversky
        """
    ),
}

# What stands for a value, not for a class.
DTYPES = _names(
    """
    bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 bfloat16
    float32 float64
    """
)
